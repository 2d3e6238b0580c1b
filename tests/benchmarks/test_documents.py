"""The pages of docs/results are what their JSON files render to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import clean, crowd, deploy, fading, issues, issues_tables, people, scale, video
from benchmarks.arenas.report import rendered
from benchmarks.lab import label_study, measurement
from benchmarks.lab.rows import summarise
from benchmarks.parsing import clip, group_picture, mask_report, plan, report
from benchmarks.soaks.page import page as soak_page

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def _parsing(found: dict[str, Any]) -> str:
    names = dict.fromkeys(record["row"] for record in found["cells"])
    rows = report.rows_of(plan.variants(found["study"], list(names)), found["cells"])
    return report.page(found["study"], rows, found["cells"])


def _speed(found: dict[str, Any]) -> str:
    return measurement.page([measurement.Measurement(**row) for row in found["rows"]])


def _masks(found: dict[str, Any]) -> str:
    return mask_report.page(found["title"], mask_report.rows_of(found["cells"]))


PAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "robustness": lambda found: label_study.page(found["title"], found["cells"]),
    "robustness-masks": _masks,
    "robustness-masks-ccp": _masks,
    "issues": lambda found: issues.page(summarise(found["cells"], "auroc")),
    "issues-tables": lambda found: issues_tables.page(found["cells"]),
    "arena": rendered,
    "arena-ablation": rendered,
    "arena-classes": rendered,
    "arena-images": rendered,
    "clean": lambda found: clean.page(found["cells"]),
    "crowd": lambda found: crowd.page(found["cells"]),
    "deploy": deploy.page,
    "fading": fading.page,
    "lip-people": _parsing,
    "lip-parts": _parsing,
    "lip-ccp": _parsing,
    "lip-ccp-scratch": _parsing,
    "people": lambda found: people.page(found["cells"]),
    "people-picture": group_picture.page,
    "reliability": soak_page,
    "scale": lambda found: scale.page([scale.Found(**row) for row in found["rows"]]),
    "video": lambda found: video.page(found["cells"]),
    "video-clip": clip.page,
    "speed": _speed,
    "speed-parsing": _speed,
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_its_file_renders_to(name: str) -> None:
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    page = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(PAGES[name](found))


def test_pictures_of_the_documentation_are_no_more_than_two_megabytes() -> None:
    pictures = {path for kind in ("png", "gif", "jpg") for path in RESULTS.parent.rglob(f"*.{kind}")}
    assert RESULTS / "video-clip.gif" in pictures
    assert [path.name for path in pictures if path.stat().st_size >= 2_000_000] == []


def test_every_report_of_the_documentation_is_rendered() -> None:
    assert {path.stem for path in RESULTS.glob("*.json")} == set(PAGES)
