"""The site: every page has its place, every public name is in the reference, links work there as on GitHub."""

import importlib
import re
from pathlib import Path

import pytest

import noisycorrect
import noisycorrect_seg
from tools.docstrings import markdown
from tools.site_hooks import rewritten

ROOT = Path(__file__).parents[2]
REPOSITORY = "https://example.org/main"
REFERENCE = {
    name: page
    for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}


def found(path):
    """Return the object of a full name."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            thing = getattr(thing, name)
        return thing
    raise AssertionError(path)


@pytest.mark.parametrize(
    "package", [noisycorrect, noisycorrect_seg, noisycorrect.noise], ids=lambda each: each.__name__
)
def test_every_public_name_is_in_the_reference(package):
    documented = {id(found(path)) for path in REFERENCE}
    missing = [name for name in package.__all__ if id(getattr(package, name)) not in documented]
    # Tables of names; the guides say what is in them.
    assert [name for name in missing if name not in ("MODELS", "CIFAR10_ASYMMETRIC")] == []


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("validation:")[0]
    named = set(re.findall(r"^ +- (?:[^#\n]*: )?([\w/-]+\.md)$", navigation, re.MULTILINE))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages == named - {"index.md", "changelog.md", "contributing.md"}


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("index.md", "docs/crowd.md", "crowd.md"),
        ("index.md", "docs/results", "results.md"),
        ("index.md", "LICENSE", f"{REPOSITORY}/LICENSE"),
        ("crowd.md", "../README.md#recipes", "index.md#recipes"),
        ("results/arena.md", "../robust.md", "../robust.md"),
        ("results/arena.md", "arena-report-sets.png", "arena-report-sets.png"),
        ("extending.md", "../noisycorrect/task.py", f"{REPOSITORY}/noisycorrect/task.py"),
        ("crowd.md", "https://arxiv.org/abs/1910.09777", "https://arxiv.org/abs/1910.09777"),
        ("crowd.md", "#how", "#how"),
    ],
)
def test_links_lead_to_the_same_thing_on_the_site(page, link, expected):
    assert rewritten(f"[x]({link})", page, REPOSITORY) == f"[x]({expected})"


def test_roles_become_links_and_formulas():
    text = "A :class:`~noisycorrect.Recipe`, :meth:`fit`, :meth:`Votes.from_table <noisycorrect.Votes.from_table>`."
    shown = markdown(text, "noisycorrect.corrector.SelfCorrector")
    assert re.findall(r'identifier="([^"]*)" optional><code>([^<]*)<', shown) == [
        ("noisycorrect.Recipe", "Recipe"),
        ("noisycorrect.corrector.SelfCorrector.fit", "fit"),
        ("noisycorrect.Votes.from_table", "Votes.from_table"),
    ]
    assert markdown("as :math:`x_i\n  < 1`.") == "as \\(x_i < 1\\)."
    assert (
        markdown("Is\n\n    .. math::\n\n        a \\\\\n        b\n\nand")
        == "Is\n\n    \\[\n    a \\\\\n    b\n    \\]\n\nand"
    )
