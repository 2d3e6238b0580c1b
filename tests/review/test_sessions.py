"""A cleaning run's folder: items, the journal of decisions, final labels."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cleaning_runs import CLASSES, items_of, write_run, write_store_run

from noisycorrect.review.session import (
    Cleaning,
    Decision,
    Item,
    Journal,
    Reviewed,
    final_labels,
    has_items,
    read_decisions,
    read_items,
    store_items,
)
from noisycorrect.support.errors import InvalidInputError, StoreError


def test_what_is_written_is_read(tmp_path):
    items = items_of()
    write_run(tmp_path, items, figures={"seed": np.int64(3), "rate": float("nan")})
    header, read = read_items(tmp_path)
    assert read == items
    assert (header.kind, header.classes, header.figures) == ("text", CLASSES, {"seed": 3, "rate": None})
    assert has_items(tmp_path)
    assert not has_items(tmp_path / "nowhere")


def test_names_of_any_script_and_lines_within_texts(tmp_path):
    item = Item(id="π\u2028", given=None, suggested="bug", quality=1, is_issue=False, text="a\nb\u2028c\U0001f600")
    write_run(tmp_path, [item])
    assert read_items(tmp_path)[1] == [item]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([items_of()[0], items_of()[0]], "'t0' twice"),
        ([Item(id="a", given="cat", suggested="bug", quality=0, is_issue=True)], "'cat' and 'bug' of item 'a'"),
    ],
)
def test_bad_items_leave_the_old_ones(tmp_path, items, message):
    write_run(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        write_run(tmp_path, items)
    assert len(read_items(tmp_path)[1]) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cleaning.json", "items.jsonl"]


@pytest.mark.parametrize(
    "made",
    [
        lambda: Item(id="", given=None, suggested=None, quality=0, is_issue=False),
        lambda: Item(id="a", given=None, suggested=None, quality=1.5, is_issue=False),
        lambda: Item(id="a", given=None, suggested=None, quality=float("nan"), is_issue=False),
        lambda: Item(id="a", given=None, suggested=None, quality=0, is_issue=False, text="a", image="b"),
        lambda: Cleaning(kind="sound", classes=CLASSES, source="", label=""),
        lambda: Cleaning(kind="text", classes=["one"], source="", label=""),
        lambda: Cleaning(kind="text", classes=["one", "one"], source="", label=""),
        lambda: Decision(id="a", action="delete"),
        lambda: Decision(id="a", action="class"),
    ],
)
def test_what_cannot_be_is_refused(made):
    with pytest.raises(InvalidInputError):
        made()


def test_damaged_runs_say_where(tmp_path):
    with pytest.raises(StoreError, match="no cleaning.json"):
        read_items(tmp_path)
    write_run(tmp_path)
    with (tmp_path / "items.jsonl").open("a") as file:
        file.write('{"id": "x"')
    with pytest.raises(StoreError, match="line 13"):
        read_items(tmp_path)
    header = json.loads((tmp_path / "cleaning.json").read_text())
    (tmp_path / "cleaning.json").write_text(json.dumps(header | {"version": 2}))
    with pytest.raises(StoreError, match="update the package"):
        read_items(tmp_path)


def test_decisions_over_corrected_over_given(tmp_path):
    write_run(tmp_path)
    journal = Journal(tmp_path)
    for said in (
        {"id": "t0", "action": "accept", "label": "bug"},
        {"id": "t1", "action": "keep", "label": "billing"},
        {"id": "t2", "action": "class", "label": "how-to"},
        {"id": "t3", "action": "skip"},
        {"id": "t4", "action": "keep", "label": "billing"},
        {"id": "t4", "action": "undo"},
        {"id": "gone", "action": "keep", "label": "bug"},
    ):
        journal.append(Decision(**said))
    found = {each.id: (each.label, each.decided, each.origin) for each in final_labels(tmp_path)}
    assert found == {
        "t0": ("bug", True, "accept"),
        "t1": ("billing", True, "keep"),
        "t2": ("how-to", True, "class"),
        **{f"t{number}": ("bug", False, "corrected") for number in range(3, 10)},
        "t10": ("billing", False, "given"),
        "t11": ("billing", False, "corrected"),
    }


def test_a_sample_kept_without_a_label_is_not_trusted(tmp_path):
    write_run(tmp_path)
    Journal(tmp_path).append(Decision(id="t11", action="keep", label=None))
    last = final_labels(tmp_path)[-1]
    assert (last.label, last.decided) == (None, False)


def test_undo_brings_back_what_stood_before():
    said = [("accept", "bug"), ("class", "how-to"), ("undo", None)]
    state = Reviewed(Decision(id="a", action=action, label=label) for action, label in said)
    assert state.decision("a").label == "bug"
    assert (state.revision("a"), state.revision("b"), state.changed_since(2), state.changed_since(3)) == (
        3,
        0,
        ["a"],
        [],
    )


def test_a_torn_line_is_passed_over_and_the_next_is_whole(tmp_path):
    journal = Journal(tmp_path)
    journal.append(Decision(id="a", action="keep", label="bug"))
    with journal.path.open("ab") as file:
        file.write(b'{"id": "b", "acti')
    assert [each.id for each in read_decisions(tmp_path)] == ["a"]
    Journal(tmp_path).append(Decision(id="c", action="keep", label="bug"))
    with pytest.warns(UserWarning, match="line 2 that cannot be read"):
        assert [each.id for each in read_decisions(tmp_path)] == ["a", "c"]


def test_a_full_disk_leaves_nothing_of_a_decision(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    journal.append(Decision(id="a", action="keep", label="bug"))
    before = journal.path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InvalidInputError, match="No space left"):
            journal.append(Decision(id="b", action="keep", label="bug"))
    assert journal.path.read_bytes() == before
    assert journal.state.decision("b") is None


# Packages without what their __init__ imports: the process needs the journal alone, and torch takes seconds to import.
KILLED = """
import sys, types
for name in ("noisycorrect", "noisycorrect.review", "noisycorrect.review.session"):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [sys.argv[2] + "/" + name.replace(".", "/")]
from noisycorrect.review.session.decisions import Decision, Journal
journal = Journal(sys.argv[1])
for number in range(100_000):
    journal.append(Decision(id=str(number), action="keep", label="bug"))
    print(number, flush=True)
"""


def test_what_was_confirmed_survives_kill_9(tmp_path):
    words = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parents[2])]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    confirmed = -1
    try:
        for line in process.stdout:
            confirmed = int(line)
            if confirmed >= 20:
                break
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    found = [int(each.id) for each in read_decisions(tmp_path)]
    assert found == list(range(len(found)))
    assert len(found) > confirmed == 20


def test_items_of_a_store_are_its_samples_in_order(tmp_path):
    folder, store = write_store_run(tmp_path, count=60)
    items = read_items(folder)[1]
    assert [item.is_issue for item in items] == [number % 5 == 0 for number in range(60)]
    assert [CLASSES.index(item.given) for item in items] == store.given().tolist()
    assert items[0].probs[items[0].suggested] == pytest.approx(0.9 + 0.1 / 3, abs=1e-6)
    with pytest.raises(InvalidInputError, match="60 ids"):
        list(store_items(store, CLASSES, ids=["a"]))
    with pytest.raises(InvalidInputError, match="3 class names"):
        list(store_items(store, ["a"]))


def test_large_journals_are_read_in_time(tmp_path):
    line = json.dumps({"id": "{}", "action": "keep", "label": "bug", "at": "2026-01-01T00:00:00+00:00", "tab": "t"})
    (tmp_path / "decisions.jsonl").write_text(
        "\n".join(line.replace("{}", str(n % 5000)) for n in range(20_000)) + "\n"
    )
    start = time.process_time()
    assert len(Reviewed(read_decisions(tmp_path)).in_force()) == 5000
    assert time.process_time() - start < 5
