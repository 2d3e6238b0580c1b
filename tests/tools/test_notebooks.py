"""Notebooks are their guides, carry no outputs, and run from the first cell to the last."""

import json

import pytest
import torch

from tools.notebooks import FOLDER, GUIDES, text_of


@pytest.mark.parametrize("name", GUIDES)
def test_a_notebook_is_its_guide(name):
    assert (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8") == text_of(name), "run python -m tools.notebooks"


def test_there_is_no_other_notebook():
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(GUIDES)


@pytest.mark.parametrize("name", GUIDES)
def test_a_notebook_runs_in_one_process(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    names = {"__name__": "__main__"}
    with torch.random.fork_rng():
        for cell in code:
            assert not cell["outputs"]
            assert cell["execution_count"] is None
            exec(compile("".join(cell["source"]), f"{name}.ipynb", "exec"), names)


def test_cells_have_names_of_their_own():
    for name in GUIDES:
        ids = [cell["id"] for cell in json.loads(text_of(name))["cells"]]
        assert len(set(ids)) == len(ids)
