"""What the documents promise: their code runs, their links lead somewhere, their commands and names exist."""

import argparse
import importlib
import importlib.metadata
import importlib.util
import re
import shlex
import tomllib
import warnings
from pathlib import Path

import pytest
import torch

from noisycorrect import RECIPES, cli
from noisycorrect.classification.noise import MODELS
from noisycorrect.export import FORMATS
from noisycorrect.labels import CODECS, KINDS
from noisycorrect.saved.networks import NETWORKS
from noisycorrect.task import TASKS
from noisycorrect_seg.ace2p import BACKBONES
from noisycorrect_seg.noise import MODELS as MASK_MODELS

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING, CHANGELOG = (ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG"))
GUIDES = sorted((ROOT / "docs").glob("*.md"))
RESULTS = sorted((ROOT / "docs" / "results").glob("*.md"))
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
PAGES = [README, CONTRIBUTING, CHANGELOG, *GUIDES, *RESULTS, *REFERENCE]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page, text in TEXTS.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
]
REGISTERS = (RECIPES, KINDS, TASKS, MODELS, MASK_MODELS, CODECS, BACKBONES, FORMATS, NETWORKS)
COMMANDS = "noisycorrect.commands"
COMMAND_LINE = re.compile(
    r"^(?:while )?(?:python -m (benchmarks\.\w+)|noisycorrect(?= ))(.*?)(?:; \[.*)?$", re.MULTILINE
)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINES = {page: COMMAND_LINE.findall("\n".join(SHELL.findall(text))) for page, text in TEXTS.items()}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def give_own_tables(monkeypatch):
    """Let what is registered from now on be gone after the test."""
    for register in REGISTERS:
        monkeypatch.setattr(register, "_things", dict(register._things))


@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block, tmp_path, monkeypatch, capsys):
    for package in re.findall(r"^(?:import|from) (lightning|transformers)\b", block, re.MULTILINE):
        pytest.importorskip(package)  # takes seconds to import, and is an extra
        warnings.filterwarnings("ignore", module=rf"{package}\.")  # tips of theirs
    monkeypatch.chdir(tmp_path)
    give_own_tables(monkeypatch)
    with torch.random.fork_rng():
        exec(compile(block, "README", "exec"), {"__name__": "block"})
    if "find_label_issues(top=5)" in block and "LabelIssue(" in block:
        assert capsys.readouterr().out.count("LabelIssue(index=") == 5


def test_what_a_block_registers_is_gone_after_it():
    with pytest.MonkeyPatch.context() as monkeypatch:
        give_own_tables(monkeypatch)
        for register in REGISTERS:
            register.register("of a block", next(iter(register.values())))
            assert "of a block" in register
    for register in REGISTERS:
        assert "of a block" not in register


def test_what_is_added_takes_less_than_30_lines():
    page = TEXTS[ROOT / "docs" / "extending.md"]
    sections = re.findall(r"^## (A .*?)\n(.*?)(?=^## )", page, re.DOTALL | re.MULTILINE)
    assert [title.split(":")[0] for title, _ in sections] == [
        "A method", "A noise model", "A kind of labels", "A task", "A codec", "A backbone",
    ]  # fmt: skip
    for title, text in sections:
        (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert block.count("\n") < 30, f"{title}: {block.count(chr(10))} lines"


def test_every_group_of_entry_points_is_in_the_table():
    table = re.findall(r"^\| `(noisycorrect\.\w+)` \|", TEXTS[ROOT / "docs" / "extending.md"], re.MULTILINE)
    assert sorted(table) == sorted([*(register.group for register in REGISTERS), COMMANDS])
    own = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert own.keys() <= set(table)


def test_no_page_is_left_out():
    assert set((ROOT / "docs").rglob("*.md")) <= set(PAGES)


@every_page
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
            assert anchor in anchors, f"{page.name}: {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page != CHANGELOG], ids=lambda page: page.name)
def test_commands_exist(page):
    known = {
        "clean",
        "predict",
        "estimate",
        "issues",
        "report",
        "review",
        "export",
        *(entry.name for entry in importlib.metadata.entry_points(group=COMMANDS)),
    }
    for module in set(re.findall(r"python -m (benchmarks[\w.]*)", TEXTS[page])):
        assert importlib.util.find_spec(module) is not None, f"{page.name}: python -m {module}"
    for command in set(re.findall(r"^noisycorrect (\w+)|`noisycorrect (\w+)", TEXTS[page], re.MULTILINE)):
        assert "".join(command) in known, f"{page.name}: noisycorrect {command}"


class ParsedError(Exception):
    """A command line was understood; what it asks for is not done."""


@pytest.mark.parametrize("page", [page for page, lines in LINES.items() if lines], ids=lambda page: page.name)
def test_command_lines_are_understood(page, monkeypatch, capsys):
    parse = argparse.ArgumentParser.parse_args

    def only_parse(parser, words=None, namespace=None):
        parse(parser, words, namespace)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", only_parse)
    for module, rest in LINES[page]:
        words = [word for word in shlex.split(rest, comments=True) if word != "..."]
        try:
            with pytest.raises(ParsedError):
                (importlib.import_module(module) if module else cli).main(words)
        except SystemExit:
            pytest.fail(f"{page.name}: {module or 'noisycorrect'} {rest.strip()}: {capsys.readouterr().err}")


def test_every_page_is_reached_from_the_readme():
    reached, todo = set(), [README]
    while todo:
        page = todo.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)[^)]*\)", TEXTS.get(page, ""))
        targets = ((page.parent / link).resolve() for link in links if not link.startswith("http"))
        todo += [target for target in targets if target in TEXTS and target not in reached]
    assert set(PAGES) == reached, f"no link leads to {[page.name for page in PAGES if page not in reached]}"


def test_the_readme_is_short():
    assert len(TEXTS[README].split()) <= 900


def test_the_design_is_short():
    assert len(TEXTS[ROOT / "docs" / "design.md"].split()) < 2400


def test_every_recipe_is_in_the_documents():
    methods = TEXTS[ROOT / "docs" / "methods.md"]
    for name in RECIPES:
        assert f"`{name.split('/')[0]}`" in methods, name


def test_what_recipes_cost_is_what_the_table_says():
    rows = re.findall(r"^\| (`[^|]*)\| (\d[^|]*)\|", TEXTS[ROOT / "docs" / "how-to-choose.md"], re.MULTILINE)
    names = [(name, cost) for names, cost in rows for name in re.findall(r"`([\w/-]+)`", names)]
    costs = dict(reversed(names))  # a later row of the same name is a variant
    assert {name for name in RECIPES if "/" not in name} <= costs.keys()
    for name in RECIPES:
        longer, shorter = (RECIPES[name].passes(10_000, epochs=epochs) for epochs in (90, 89))
        # Statistics and predictions cost the same in both, if as many cycles end.
        cost = costs.get(name, costs[name.split("/")[0]])
        assert (longer - shorter) / 10_000 in map(float, re.findall(r"\d+(?:\.\d+)?", cost)), name


def test_the_two_commands_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target} " in TEXTS[README]
        assert re.search(rf"^{target}: \.venv/ready$", makefile, re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text()
