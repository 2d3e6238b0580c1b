"""The arena's parts: sets from files, noises, preparations, rows without a network, and the arithmetic of regret."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.arenas.board import Board, coverage_of, harm_of, ranks_of, regret_of
from benchmarks.arenas.classical import NEIGHBOURS, Question, knn, nearest, ni_erm
from benchmarks.arenas.files import majority, read_crowd, read_csv, read_npz
from benchmarks.arenas.noises import NOISES, long_tail, make_noise, nearest_classes, votes_of_annotators
from benchmarks.arenas.preparations import PREPARATIONS, minmax, standard
from benchmarks.arenas.problems import Choice, prepare
from benchmarks.arenas.report import page
from benchmarks.arenas.sets import Entry, find_sets, fingerprint, load_source
from benchmarks.arenas.tables import Source, split
from noisycorrect.support.errors import InvalidInputError

RNG = np.random.default_rng(0)


def blobs(rows: int = 240, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = 4 * np.eye(classes, 5)
    return (centres[labels] + generator.standard_normal((rows, 5))).astype(np.float32), labels


# ---------------------------------------------------------------- sets


def test_training_and_test_rows_are_apart_and_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [200, 100, 20])
    source = Source(np.zeros((320, 2), np.float32), labels, ("a", "b", "c"))
    train, test = split(source, most_train=160, most_test=80, seed=1)
    assert len(np.intersect1d(train, test)) == 0
    assert np.bincount(labels[train]).tolist() == [100, 50, 10]
    assert np.bincount(labels[test]).tolist() == [50, 25, 5]
    other, _ = split(source, most_train=160, most_test=80, seed=2)
    assert not np.array_equal(train, other)


def test_what_is_published_for_testing_is_not_trained_on() -> None:
    source = Source(np.zeros((100, 2), np.float32), np.arange(100) % 2, ("a", "b"), test_rows=np.arange(60, 100))
    train, test = split(source, most_train=1500, most_test=20, seed=0)
    assert train.max() < 60 <= test.min()
    assert (len(train), len(test)) == (60, 20)


def test_a_csv_of_numbers_gaps_and_categories(tmp_path: Path) -> None:
    lines = ["size,colour,note,kind"]
    lines += [
        f"{'' if i == 0 else i},{'red' if i % 2 else 'blue'},text {i},{'cat' if i % 3 else 'dog'}" for i in range(60)
    ]
    path = tmp_path / "pets.csv"
    path.write_text("\n".join([*lines, "7,red,none,"]), encoding="utf-8")
    source = read_csv(path, "kind")
    assert source.class_names == ("cat", "dog")
    assert source.inputs.shape == (60, 3), "a number and two colours; 60 different notes are left out"
    assert source.inputs[0, 0] == pytest.approx(np.arange(1, 60).mean())
    assert source.inputs[:2, 1:].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(InvalidInputError, match="column 'label'.*size, colour.*--label"):
        read_csv(path, "label")
    found, left = find_sets(tmp_path, "kind")
    assert Entry("pets", path, "kind") in found
    found, left = find_sets(tmp_path, "other")
    assert any("pets.csv" in sentence for sentence in left)


def test_a_table_that_does_not_fit_together_is_said(tmp_path: Path) -> None:
    inputs, labels = blobs()
    good = {"X": inputs, "y": labels, "names": np.array(["a", "b", "c"])}
    for name, change in {"short": {"y": labels[1:]}, "beyond": {"y": labels + 1}, "half": {}}.items():
        content = {**good, **change}
        if name == "half":
            del content["names"]
        np.savez(tmp_path / f"{name}.npz", **content)
        with pytest.raises(InvalidInputError, match=name):
            read_npz(tmp_path / f"{name}.npz")
    np.savez(tmp_path / "penbased.npz", **good)
    found, left = find_sets(tmp_path)
    assert "penbased" in [entry.name for entry in found]
    assert sum(any(name in sentence for name in ("short", "beyond", "half")) for sentence in left) == 3


def test_the_packaged_copy_gives_way_to_the_file(tmp_path: Path) -> None:
    inputs, labels = blobs()
    np.savez(tmp_path / "wdbc.npz", X=inputs, y=labels, names=np.array(["a", "b", "c"]))
    found, left = find_sets(tmp_path)
    names = [entry.name for entry in found]
    assert "wdbc" in names
    assert "breast-cancer" not in names
    assert any("same data as wdbc" in sentence for sentence in left)
    assert "breast-cancer" in [entry.name for entry in find_sets(None)[0]]


def test_crowd_labels_are_the_majority_of_who_voted(tmp_path: Path) -> None:
    words = {"billing": "pay invoice", "bug": "crash error"}
    crowd, gold = ["id,text,annotator_1,annotator_2,annotator_3"], ["id,gold"]
    for number in range(60):
        kind = ("billing", "bug")[number % 2]
        votes = [",,", "bug,bug,billing"][number != 0]
        crowd.append(f"{number},{words[kind]},{votes}")
        gold.append(f"{number},{kind}")
    (tmp_path / "crowd.csv").write_text("\n".join(crowd))
    (tmp_path / "gold.csv").write_text("\n".join(gold))
    (tmp_path / "heldout.csv").write_text("\n".join(["id,text,label", "1,pay,billing", "2,crash,bug"]))
    source = read_crowd(tmp_path)
    assert source.class_names == ("billing", "bug")
    assert len(source.labels) == 59 + 2, "a text without a vote is left out"
    assert source.test_rows is not None
    assert source.labels[source.test_rows].tolist() == [0, 1]
    assert set(source.human_labels["majority"][:59]) == {1}
    (tmp_path / "gold.csv").write_text("id,right\n1,bug")
    with pytest.raises(InvalidInputError, match="gold"):
        read_crowd(tmp_path)


def test_without_a_seed_the_more_frequent_of_equal_classes_counts() -> None:
    votes = np.array([[2, 0, -1], [-1, 0, 2], [1, 2, 2], [-1, -1, 1], [0, 1, 2], [1, 1, 2], [2, 0, 0]])
    assert majority(votes, 3, seed=None).tolist() == [2, 2, 2, 1, 2, 1, 0]


def test_ties_of_votes_are_broken_at_random() -> None:
    given = majority(np.tile([[0, 1, -1]], (2000, 1)), 3, seed=0)
    assert set(given) == {0, 1}
    assert abs(given.mean() - 0.5) < 0.05


@pytest.mark.parametrize("name", ["mixture", "spheres", "moons", "counts"])
def test_generated_sets_are_always_the_same(name: str) -> None:
    load_source.cache_clear()
    first = load_source(Entry(name))
    load_source.cache_clear()
    assert fingerprint(load_source(Entry(name))) == fingerprint(first)
    assert len(first.labels) == 3500


# ---------------------------------------------------------------- noises and preparations


def test_the_noise_is_the_same_for_every_preparation() -> None:
    for noise in ("instance:0.4", "imbalance", "annotators"):
        problems = [prepare(Choice("wine", None, "label", noise, name, 3, 1500, 2000)).problem for name in PREPARATIONS]
        for other in problems[1:]:
            assert np.array_equal(problems[0].given, other.given)
            assert np.array_equal(problems[0].clean, other.clean)


@pytest.mark.parametrize("noise", NOISES)
def test_every_noise_has_about_the_rate_that_it_says(noise: str) -> None:
    features, labels = blobs(3000, 4)
    given = make_noise(noise, labels, features, {}, num_classes=4, seed=0)
    rate = float((given.given != labels[given.rows]).mean())
    expected = {"none": 0, "symmetric:0.4": 0.4, "pairflip:0.3": 0.3, "asymmetric:0.4": 0.2, "instance:0.4": 0.4,
                "annotators": 0.18, "imbalance": 0.2}[noise]  # fmt: skip
    assert rate == pytest.approx(expected, abs=0.03)


def test_annotators_confuse_classes_of_their_own() -> None:
    labels = np.repeat(np.arange(5), 4000)
    votes = votes_of_annotators(labels, 5, seed=0)
    for annotator, accuracy in enumerate((0.85, 0.7, 0.55)):
        counts = np.zeros((5, 5))
        np.add.at(counts, (labels, votes[:, annotator]), 1 / 4000)
        assert np.diag(counts) == pytest.approx(np.full(5, accuracy), abs=0.03)
        np.fill_diagonal(counts, 0)
        share = counts.max(axis=1) / counts.sum(axis=1)
        assert share == pytest.approx(np.full(5, 0.6 + 0.4 / 4), abs=0.05)


def test_the_tail_is_geometric_and_keeps_eight() -> None:
    labels = np.arange(400) % 4
    counts = sorted(np.bincount(labels[long_tail(labels, seed=0)]).tolist())
    assert counts == [round(100 * 10 ** (-k / 3)) for k in (3, 2, 1, 0)]
    few = np.arange(40) % 4
    assert min(np.bincount(few[long_tail(few, seed=0)])) == 8


def test_asymmetric_noise_goes_to_the_nearest_class() -> None:
    features, labels = blobs(300, 3)
    features[labels == 2] = features[labels == 0] + 0.5
    assert nearest_classes(features, labels, 3) == {0: 2, 2: 0}
    noisy = make_noise("asymmetric:0.4", labels, features, {}, num_classes=3, seed=0)
    assert np.array_equal(noisy.given[labels == 1], labels[labels == 1])
    assert set(noisy.given[labels == 0]) == {0, 2}


def test_preparations_are_fitted_to_training_rows_alone() -> None:
    train = RNG.normal(30, 20, (50, 3)).astype(np.float32)
    test = np.full((2, 3), 1000.0, np.float32)
    raw = PREPARATIONS["raw"](train)
    assert 1 <= np.abs(raw(train)).max() < 10
    assert np.allclose(raw(train) / train, raw(train)[0, 0] / train[0, 0], rtol=1e-5), "one number for all"
    scaled = minmax(train)
    assert scaled(train).min(0) == pytest.approx([0, 0, 0], abs=1e-6)
    assert scaled(train).max(0) == pytest.approx([1, 1, 1], abs=1e-6)
    assert (scaled(test) > 1).all()
    assert standard(train)(train).std(0) == pytest.approx([1, 1, 1], abs=1e-5)


def test_images_are_standardised_by_channel() -> None:
    images = RNG.random((20, 3, 4, 4)).astype(np.float32) * np.array([1, 2, 3], np.float32)[:, None, None]
    found = standard(images)(images)
    assert found.mean((0, 2, 3)) == pytest.approx([0, 0, 0], abs=1e-5)
    slow = (images[:, 1] - images[:, 1].mean()) / images[:, 1].std()
    assert np.allclose(found[:, 1], slow, atol=1e-4)


# ---------------------------------------------------------------- rows without a network


def slow_knn(question: Question) -> tuple[list[float], list[int]]:
    unit = question.train.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    quality = [1.0] * len(unit)
    near = []
    for i, row in enumerate(unit):
        cosine = {j: float(row @ other) for j, other in enumerate(unit) if j != i}
        near.append(sorted(cosine, key=cosine.__getitem__, reverse=True)[:NEIGHBOURS])
    shares: list[list[float]] = []
    for _ in range(3):
        shares = []
        for i in range(len(unit)):
            tally = [sum(quality[j] for j in near[i] if question.given[j] == c) for c in range(question.num_classes)]
            shares.append([value / sum(tally) for value in tally])
        quality = [share[label] for share, label in zip(shares, question.given, strict=True)]
    return quality, [int(np.argmax(share)) for share in shares]


def test_neighbours_vote_as_slowly_reckoned() -> None:
    inputs, labels = blobs(120, 3)
    noisy = make_noise("symmetric:0.4", labels, inputs, {}, num_classes=3, seed=0)
    question = Question(inputs, noisy.given, 3, inputs[:7], 0)
    answer = knn(question)
    quality, cleaned = slow_knn(question)
    assert answer.quality is not None
    assert answer.cleaned is not None
    assert answer.quality == pytest.approx(np.array(quality), abs=1e-6)
    assert answer.cleaned.tolist() == cleaned
    assert (answer.cleaned == labels).mean() > (noisy.given == labels).mean() + 0.2
    assert (answer.predicted == labels[:7]).mean() > 0.8


def test_nearest_rows_are_not_the_row_itself() -> None:
    rows = RNG.standard_normal((30, 4)).astype(np.float32)
    near = nearest(rows, rows, 5, own=True)
    assert not (near == np.arange(30)[:, None]).any()


def test_logistic_regression_ranks_by_held_out_probabilities() -> None:
    inputs, labels = blobs(300, 3)
    noisy = make_noise("symmetric:0.4", labels, inputs, {}, num_classes=3, seed=0)
    answer = ni_erm(Question(inputs, noisy.given, 3, inputs[:5], 0))
    assert answer.quality is not None
    wrong = noisy.given != labels
    assert answer.quality[wrong].mean() < answer.quality[~wrong].mean() - 0.2
    few = np.where(np.arange(300) < 3, 2, labels % 2)
    assert ni_erm(Question(inputs, few, 3, inputs[:5], 0)).quality is None, "a class too small for five folds"


# ---------------------------------------------------------------- regret


def record(
    method: str, accuracy: float, *, kind: str = "published", noise: str = "none", **result: Any
) -> dict[str, Any]:
    config = {"dataset": "wine", "noise": noise, "network": "mlp", "preparation": "raw", "optimizer": "sgd", "seed": 0}
    usual = {"balanced_accuracy": accuracy, "diverged": False, "refused": None, "vanished": 0, "test_rows": 400,
             "train_rows": 1500, "noise_rate": 0.0, "seconds": 1.0, "cpu_seconds": 1.0}  # fmt: skip
    return {
        "config": config | {"method": method},
        "result": {**usual, "test_accuracy": accuracy, "kind": kind, **result},
    }


RECORDS = [
    record("ce", 0.9),
    record("elr", 0.8),
    record("robust", 0.895, kind="self-correction"),
    record("dividemix", 0.99, kind="two networks"),
    record("ce", 0.5, noise="symmetric:0.4"),
    record("elr", 0.7, noise="symmetric:0.4"),
    record("robust", 0.6, kind="self-correction", noise="symmetric:0.4"),
]


def test_regret_is_against_the_best_published_row_of_one_network() -> None:
    board = Board.of(RECORDS)
    found = dict(zip(board.names, regret_of(board), strict=True))
    assert found["robust"].mean == pytest.approx((0.005 + 0.1) / 2)
    assert found["robust"].worst == pytest.approx(0.1)
    assert found["robust"].percentile == pytest.approx(0.005 + 0.9 * 0.095)
    assert found["robust"].wins == 0.5, "half a point of 400 rows is level, ten points are not"
    assert found["ce"].mean == pytest.approx(0.1)
    assert (found["dividemix"].mean, found["dividemix"].places) == (pytest.approx(-0.09), 1)


def test_level_is_within_the_error_of_a_difference() -> None:
    error = math.sqrt((0.9 * 0.1 + 0.88 * 0.12) / 400)
    assert error < 0.025
    for behind, level in ((error - 1e-3, 1.0), (error + 2e-3, 0.0)):
        board = Board.of([record("ce", 0.9), record("robust", 0.9 - behind, kind="self-correction")])
        assert regret_of(board)[1].wins == level


def test_harm_is_against_plain_training_on_many_clean_labels() -> None:
    records = [*RECORDS, record("gce", 0.2, train_rows=900)]
    found = harm_of(Board.of(records))
    assert found["robust"].mean == pytest.approx(-0.005)
    assert found["robust"].harmless == 1
    assert found["elr"].harmless == 0
    assert harm_of(Board.of([record("ce", 0.9, train_rows=900)])) == {}


def test_coverage_is_the_share_of_intervals_that_hold_the_truth() -> None:
    intervals = [([0.1, 0.3], 0.2), ([0.1, 0.3], 0.31), ([0.0, 0.0], 0.0)]
    records = [
        record(
            "robust",
            0.5,
            kind="self-correction",
            noise=f"symmetric:0.{k}",
            estimated_interval=interval,
            noise_rate=rate,
        )
        for k, (interval, rate) in enumerate(intervals)
    ]
    found = coverage_of(Board.of([*records, record("ce", 0.5)]))
    assert list(found) == ["robust"]
    assert found["robust"].share == pytest.approx(2 / 3)
    assert found["robust"].width == pytest.approx(0.4 / 3)


def test_the_critical_difference_is_demsars() -> None:
    # Demšar 2006, sec. 3.2.2: four classifiers on 14 sets, q = 2.569, CD = 1.25.
    records = [
        record(name, float(value), noise=f"symmetric:0.{k}")
        for k in range(14)
        for name, value in zip("abcd", RNG.random(4), strict=True)
    ]
    ranks = ranks_of(Board.of(records))
    assert ranks is not None
    assert ranks.critical == pytest.approx(1.25, abs=0.005)
    assert ranks.mean.sum() == pytest.approx(1 + 2 + 3 + 4)
    assert 0 < ranks.p <= 1
    assert ranks_of(Board.of(records[:4])) is None


def test_a_place_that_lacks_a_row_has_no_ranks() -> None:
    board = Board.of([r for k in range(4) for r in (record(n, 0.1 * k, noise=f"pairflip:0.{k}") for n in "abc")][1:])
    ranks = ranks_of(board)
    assert ranks is not None
    assert ranks.places == 3


def test_warned_runs_are_counted_where_cells_tell() -> None:
    text = page("The arena", Board.of([{**r, "result": {**r["result"], "warned": True}} for r in RECORDS]))
    assert "| balanced | warned | diverged |" in text
    assert "| 2 | 0 | 0 | 0 | 2 |" in next(line for line in text.splitlines() if line.startswith("| elr |"))
    assert "warned" not in page("The arena", Board.of(RECORDS))


def test_the_page_says_both_halves_and_what_is_left_out() -> None:
    digits = [{**r, "config": {**r["config"], "dataset": "digits"}} for r in RECORDS]
    text = page("The arena", Board.of([*RECORDS, *digits]), ["letter: no files"])
    assert text.index("The development half") < text.index("The report half")
    assert "Left out: letter: no files." in text
    assert "| elr | published | **5.0** |" in text
