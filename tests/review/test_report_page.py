"""The report: what it says, and that it asks for nothing and runs nothing."""

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser

import pytest
import torch
from cleaning_runs import CLASSES, EVIL, items_of, save_picture, write_mask_store, write_run, write_store_run
from PIL import Image

from noisycorrect import RECIPES, Schedule, SelfCorrector, SoftLabelStore
from noisycorrect.review.report import report_html, write_report
from noisycorrect.review.report.facts import Facts
from noisycorrect.review.session import Decision, Item, Journal
from noisycorrect.support.errors import InvalidInputError, StoreError


class Page(HTMLParser):
    """Text, tags and attributes of a page; checks that what is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(text)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def check_asks_for_nothing(text):
    page = Page(text)
    assert not re.search(r"@import|url\(", text)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form", "a", "base"), tag
        assert not any(name.startswith("on") for name in attributes), attributes
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/"), attributes["src"][:40]
    policy = next(
        a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    return page


def test_a_cleaning_runs_report_says_what_was_found(tmp_path):
    figures = {
        "noise": {"rate": 0.12, "interval": [0.09, 0.16], "decided": True, "verdict": "About 12 % are wrong.",
                  "class_rates": {"bug": {"rate": 0.4, "interval": [0.3, 0.5]}},
                  "most_confused": [["bug", "billing", 0.4]]},
        "annotators": [{"annotator": "anna", "votes": 12, "accuracy": 0.55, "classes": {"bug": 0.2, "billing": 0.9}}],
        "val_accuracy_before": 0.8, "val_accuracy_after": 0.835, "val_labels": 300,
        "seconds": 75.2, "recipe": "robust", "seed": 7, "version": "9.9",
    }  # fmt: skip
    write_run(tmp_path, figures=figures, created="2026-01-02T03:04:05+00:00")
    Journal(tmp_path).append(Decision(id="t0", action="class", label="how-to"))
    page = check_asks_for_nothing(report_html(tmp_path))
    for said in (
        "Labels of tickets.csv", "About 12 %", "9.0 to 16 %", "About 12 % are wrong.", "10 91 % of 11 given",
        "+3.5 points", "80 % before, 84 % after", "40 % (30 to 50 %)", "anna 12 55 % bug (20 %)",
        "bug labelled billing: 40 % of bug", "The 10 most suspicious", "changed by hand: how-to",
        "300 held-out labels", "noisycorrect clean tickets.csv", "robust", "9.9", "1 min 15 s", "2026-01-02",
    ):  # fmt: skip
        assert said in page.text, said


def test_markup_in_labels_texts_and_ids_is_shown_and_not_run(tmp_path):
    item = Item(id=EVIL, given="billing", suggested="bug", quality=0, is_issue=True, row={EVIL: EVIL},
                votes={EVIL: "bug"})  # fmt: skip
    write_run(tmp_path, [item, *items_of()], source=EVIL, label=EVIL, command=[EVIL], figures={"recipe": EVIL})
    text = report_html(tmp_path)
    assert EVIL not in text
    assert check_asks_for_nothing(text).text.count(EVIL) > 8


@pytest.mark.parametrize("noise", [{"decided": False}, {"decided": True, "memorised": True}])
def test_what_cannot_be_told_is_not_told(tmp_path, noise):
    write_run(tmp_path, figures={"noise": {"rate": 0.2, "interval": [0.01, 0.6], **noise}})
    text = Page(report_html(tmp_path)).text
    assert "Cannot tell" in text
    assert "anywhere from 1.0 to 60 %" in text
    assert "About 20 %" not in text


def test_without_figures_the_report_says_so(tmp_path):
    text = Page(report_html(write_run(tmp_path))).text
    assert "Not estimated" in text
    assert "Not measured" in text
    assert "bob 6 83 %" in text  # agreement with the corrected labels, counted from the items
    assert "anna 12 17 %" in text


def test_counts_by_class_and_the_confusion_matrix(tmp_path):
    folder, store = write_store_run(tmp_path)
    facts = Facts.of(folder)
    given, evidence = store.given(), store.evidence().argmax(1).numpy()
    for g in range(3):
        for c in range(3):
            assert facts.joint[g, c] == ((given == g) & (evidence == c)).sum()
    assert (facts.total, facts.labelled, facts.issues) == (200, 200, 40)
    qualities = [item.quality for item in facts.worst]
    assert len(qualities) == 20
    assert qualities == sorted(qualities)


def test_pictures_are_inside_and_broken_ones_are_named(tmp_path):
    save_picture(tmp_path / "a.png", size=(900, 600))
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff broken")
    images = ["a.png", "b.jpg", "nowhere.png", *["a.png"] * 9]
    write_run(tmp_path, items_of(image=images), kind="image")
    page = check_asks_for_nothing(report_html(tmp_path))
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 8
    with Image.open(io.BytesIO(base64.b64decode(pictures[0].partition(",")[2]))) as image:
        assert image.size == (192, 128)
    assert "picture cannot be read" in page.text
    assert "picture missing" in page.text


def test_without_pillow_the_report_says_what_to_install(tmp_path, monkeypatch):
    save_picture(tmp_path / "a.png")
    write_run(tmp_path, items_of(image=["a.png"] * 12), kind="image")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "pip install pillow" in Page(report_html(tmp_path)).text


def test_a_selfcorrectors_run_gets_a_reduced_report(tmp_path):
    inputs = torch.randn(90, 2, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, 0] > 0).long()
    labels[:9] = 1 - labels[:9]
    recipe = RECIPES["paper"].replace(schedule=Schedule(init_epochs=2, cycles=2, cycle_epochs=1))
    SelfCorrector(torch.nn.Linear(2, 2), num_classes=2, recipe=recipe, lr=0.5, batch_size=10,
                  run_dir=tmp_path).fit((inputs[:60], labels[:60]), (inputs[60:], labels[60:]))  # fmt: skip
    (tmp_path / "details.json").write_text(json.dumps({"class_names": ["left", "right"]}))
    history = json.loads((tmp_path / "history.json").read_text())
    page = check_asks_for_nothing(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "60 samples, 2 classes" in page.text
    assert "left" in page.text
    assert "held-out noisy labels" in page.text
    curve = next(attributes for tag, attributes in page.tags if tag == "polyline")
    assert len(curve["points"].split()) == len(history) == 3


def test_a_store_of_masks_gets_pictures_of_its_masks(tmp_path):
    write_mask_store(tmp_path)
    page = check_asks_for_nothing(report_html(tmp_path / "labels"))
    assert "Wrong pixels" in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 6  # given and corrected, of three
    assert "class 2 → class 1" in page.text


def test_many_classes_stay_readable(tmp_path):
    given = torch.arange(400) % 120
    store = SoftLabelStore.create(tmp_path / "labels", given.numpy(), 120)
    with store.new_generation() as writer:
        writer.write(range(400), torch.eye(120)[(given + (torch.arange(400) % 7 == 0)) % 120])
    page = check_asks_for_nothing(report_html(tmp_path))
    assert "The 16 classes with the most changes; 104 left out." in page.text
    assert "60 classes with fewer doubted labels left out." in page.text


@pytest.mark.filterwarnings("error")
def test_nothing_to_report_on(tmp_path):
    with pytest.raises(StoreError, match="a run folder at"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(StoreError):
        write_report(tmp_path)
    SoftLabelStore.create(tmp_path / "labels", [0, 1], 2)
    with pytest.raises(InvalidInputError, match="evidence about the labels"):
        write_report(tmp_path)


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path):
    write_run(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="to write the report"):
        write_report(tmp_path, tmp_path / "file" / "report.html")
    assert write_report(tmp_path, tmp_path / "new" / "r.html").is_file()
    assert CLASSES[0] in (tmp_path / "new" / "r.html").read_text()
