"""Notebooks of the guides: docs/notebooks is made from the very pages, without outputs.

python -m tools.notebooks    # after a page was changed
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
GUIDES = ("crowd", "images")  # pages of docs/ that are notebooks as well
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(\]\()(?!https?:|#)([^)\s]+\))")


def notebook(page: str) -> dict[str, Any]:
    r"""Return the notebook (nbformat 4.5) of a page: a code cell for each Python block, Markdown cells between them.

    Examples
    --------
    >>> cells = notebook("# Title\n\n```python\nx = 1\nprint(x)\n```\n\nSee [that](crowd.md).\n")["cells"]
    >>> [(cell["cell_type"], cell["source"]) for cell in cells]
    [('markdown', ['# Title']), ('code', ['x = 1\n', 'print(x)']), ('markdown', ['See [that](../crowd.md).'])]
    """
    parts = BLOCK.split(page)  # text, code, text, ..., text
    cells: list[dict[str, Any]] = []
    for number, part in enumerate(parts):
        text = part.strip()
        if not text:
            continue
        cell: dict[str, Any] = {"id": f"part-{number}", "metadata": {}}
        if number % 2:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        else:
            cell |= {"cell_type": "markdown"}
            text = LINK.sub(_from_notebooks, text)
        cells.append(cell | {"source": text.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _from_notebooks(match: re.Match[str]) -> str:
    return match[1] + posixpath.join("..", match[2])


def text_of(name: str) -> str:
    """Return the notebook file of a guide as it should be."""
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    return json.dumps(notebook(page), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for guide in GUIDES:
        (FOLDER / f"{guide}.ipynb").write_text(text_of(guide), encoding="utf-8")
