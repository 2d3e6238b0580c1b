"""What the documents promise: their code runs, their links lead somewhere, their commands exist."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng():
        exec(compile(block, "README", "exec"), {})
    if "find_label_issues" in block:
        assert capsys.readouterr().out.count("LabelIssue(index=") == 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_two_commands_are_in_the_makefile():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target} " in readme
        assert re.search(rf"^{target}: \.venv/ready$", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_results_in_the_readme_are_those_of_the_report():
    names = "ce|gce|elr|ce-wa-aug|prune-retrain|coteaching|dividemix|paper|robust"
    row = rf"^\| (?:{names})(?: \([^)]*\))? \|.*$"
    rows = re.findall(row, (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows
    reports = "".join(page.read_text() for page in (ROOT / "docs" / "results").glob("*.md"))
    for row in rows:
        assert row in reports, row
