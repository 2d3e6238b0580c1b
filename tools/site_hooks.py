"""What MkDocs is told about this repository: pages that lie outside docs/, and links that work on GitHub as well.

The documents are written to be read in the repository. On the site README, CHANGELOG and CONTRIBUTING are pages too,
and a link to a file that is none leads to the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# A link or a picture, but for addresses and places on the same page.
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    from mkdocs.structure.files import File

    for source, target in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Return a page's text with its links as the site needs them."""
    return rewritten(markdown, page.file.src_uri, f"{str(config.repo_url).rstrip('/')}/blob/main")


def rewritten(markdown: str, page: str, repository: str) -> str:
    """Return Markdown whose links, relative to the file in the repository, are relative to the page on the site.

    Parameters
    ----------
    markdown : str
        Text of the page.
    page : str
        Where it is on the site, relative to docs/.
    repository : str
        Address of the files that are no pages.

    Examples
    --------
    >>> rewritten("[how](docs/crowd.md#how), [walls](tests/test_imports.py)", "index.md", "https://example.org")
    '[how](crowd.md#how), [walls](https://example.org/tests/test_imports.py)'
    >>> rewritten("[start](../README.md), [figures](results)", "crowd.md", "https://example.org")
    '[start](index.md), [figures](results.md)'
    """
    origins = {target: source for source, target in OUTSIDE.items()}
    here = posixpath.dirname(origins.get(page, f"docs/{page}"))

    def on_site(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups(default="")
        found = posixpath.normpath(posixpath.join(here, target))
        if found == "docs/results":  # a folder on GitHub, its list on the site
            found = "docs/results.md"
        if found in OUTSIDE:
            there = OUTSIDE[found]
        elif found.startswith("docs/"):
            there = found.removeprefix("docs/")
        else:
            return f"{before}{repository}/{found}{anchor}{after}"
        return f"{before}{posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor}{after}"

    return LINK.sub(on_site, markdown)
