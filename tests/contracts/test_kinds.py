"""What every kind of labels promises to the core; a new kind joins by an entry in MAKERS."""

from __future__ import annotations

import functools
import pickle
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor

from noisycorrect import SoftLabelStore
from noisycorrect.classification.kind import ClassLabels
from noisycorrect.labels import CODECS, KINDS, LabelKind, Trust
from noisycorrect.labels.compare import changed_share
from noisycorrect.multilabel.kind import MultiLabels
from noisycorrect.review.issues import SCORES, find_label_issues, review_labels, sample_quality
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.support.errors import InvalidInputError, StoreError
from noisycorrect.tokens.kind import TokenLabels
from noisycorrect_seg.kind import MaskLabels

N, K = 6, 3
UNLABELED = 4  # the sample without a label


@dataclass(frozen=True)
class Made:
    """A kind with given labels of N samples, what is wrong with others, and the evidence that agrees with all labels.

    `given` are one a sample; `flawed` is the same with another label at sample 1, `wrong` are labels that are none.
    `evidence` (N, K, ...) gives each given label a probability of 1. `wider` are the labels as those of K + 1 classes,
    `independent` says that these do not sum to 1.
    """

    kind: type[LabelKind]
    given: list[Any]
    flawed: list[Any]
    wrong: list[tuple[list[Any], str]]
    evidence: Tensor
    frame: Any = None
    wider: list[Any] | None = None
    independent: bool = False

    def hard(self, soft: Tensor) -> np.ndarray:
        return ((soft > 0.5).long() if self.independent else soft.argmax(0)).numpy()

    def store(self, given: list[Any] | None = None) -> SoftLabelStore:
        return SoftLabelStore.create(None, given or self.given, K, kind=self.kind, codec="float32", frame=self.frame)

    def predicted(self, given: list[Any] | None = None, generations: int = 1, sharpness: float = 0.9) -> SoftLabelStore:
        """Return a store whose evidence is nearly sure of the labels in `given` of this object."""
        store = self.store(given)
        for _ in range(generations):
            with store.new_generation() as writer:
                writer.write(range(N), sharpness * self.evidence + (1 - sharpness) / K)
        return store


def classes() -> Made:
    given = [0, 1, 2, 0, -1, 2]
    evidence = torch.eye(K)[[0, 1, 2, 0, 1, 2]]
    wrong = [([0, 3], "num_classes=4"), ([0.5, 1.0], "whole numbers"), ([], "shape")]
    return Made(ClassLabels, given, [0, 2, *given[2:]], wrong, evidence)


def masks() -> Made:
    rng = np.random.default_rng(0)
    given: list[Any] = [rng.integers(K, size=(4, 5)).astype(np.uint8) for _ in range(N)]
    evidence = torch.eye(K)[torch.from_numpy(np.stack(given)).long()].permute(0, 3, 1, 2)
    given[UNLABELED] = None
    flawed = [*given]
    flawed[1] = (given[1] + 1) % K
    wrong = [([np.full((2, 2), K)], "got 3 at index 0"), ([np.zeros((2, 2, 3), int)], "colours"), ([], "one mask")]
    return Made(MaskLabels, given, flawed, wrong, evidence)


def entries() -> Made:
    given: list[Any] = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 1, 1]]
    evidence = torch.tensor(given).float()
    given[UNLABELED] = [-1, -1, -1]
    wrong = [([[0, 1, 2]], "got 2 at index 0, label 2"), ([[0, 1]], "got shape"), ([], "got shape")]
    wider = [[*row, 0] for row in given]
    flawed = [given[0], [1, 0, 1], *given[2:]]
    return Made(MultiLabels, given, flawed, wrong, evidence, wider=wider, independent=True)


def tokens() -> Made:
    classes = np.random.default_rng(0).integers(K, size=(N, 4))
    given: list[Any] = [classes[row, :length] for row, length in enumerate((3, 2, 1, 2, 4, 3))]
    evidence = torch.eye(K)[torch.from_numpy(classes)].permute(0, 2, 1)
    given[UNLABELED] = np.full(4, -1)
    flawed = [*given]
    flawed[1] = (given[1] + 1) % K
    wrong = [([[0], [1, K]], "got 3 at index 1"), ([[0.5]], "whole numbers"), ([], "at least one sequence")]
    return Made(TokenLabels, given, flawed, wrong, evidence)


MAKERS = {ClassLabels.name: classes, MaskLabels.name: masks, MultiLabels.name: entries, TokenLabels.name: tokens}


@pytest.fixture(params=MAKERS)
def made(request: pytest.FixtureRequest) -> Made:
    return MAKERS[request.param]()


def held(made: Made, given: list[Any] | None = None) -> LabelKind:
    return made.kind(made.given if given is None else given, K, frame=made.frame)


def listed(labels: Any) -> list[np.ndarray]:
    return [np.asarray(label) for label in labels]


def equal(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, listed(one), listed(other)))


def test_every_kind_is_under_contract() -> None:
    assert set(KINDS) == set(MAKERS)
    for name, make in MAKERS.items():
        made = make()
        assert made.kind.name == name
        assert KINDS[name] is made.kind
        assert made.kind.codec in CODECS
        assert len(made.given) == len(made.flawed) == len(made.evidence) == N


def test_what_pyproject_announces_is_what_is_registered() -> None:
    """So that a store of any kind opens, whoever has imported what."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    announced = tomllib.loads(text)["project"]["entry-points"]["noisycorrect.kinds"]
    assert {name: f"{made().kind.__module__}:{made().kind.__name__}" for name, made in MAKERS.items()} == announced


# ---------------------------------------------------------------- given labels


def test_given_labels_survive_a_file_and_a_pickle(made: Made, tmp_path: Path) -> None:
    before = held(made)
    with h5py.File(tmp_path / "given.h5", "w") as file:
        before.save(file)
    with h5py.File(tmp_path / "given.h5", "r") as file:
        after = made.kind.load(file, K, frame=made.frame)
    for copy in (after, pickle.loads(pickle.dumps(before)), pickle.loads(pickle.dumps(after))):
        assert (len(copy), copy.num_classes, copy.fingerprint) == (N, K, before.fingerprint)
        assert copy.frame == before.frame
        assert copy.labeled.tolist() == before.labeled.tolist()
        assert equal(copy.take(np.arange(N)), before.take(np.arange(N)))


def test_given_labels_are_what_was_passed(made: Made) -> None:
    kind = held(made)
    assert kind.labeled.tolist() == [index != UNLABELED for index in range(N)]
    for row in np.flatnonzero(kind.labeled).tolist():
        (label,) = kind.take(np.array([row]))
        assert np.array_equal(label, made.given[row])
    assert equal(kind.take(np.array([3, 0, 3])), [made.given[row] for row in (3, 0, 3)])


def test_given_labels_cannot_be_altered(made: Made) -> None:
    kind = held(made)
    before = listed(kind.take(np.arange(N)))
    for label in [kind.take(np.arange(N))] if kind.parts is None else kind.take(np.arange(N)):
        label[...] = 1
    assert equal(kind.take(np.arange(N)), before)
    with pytest.raises(ValueError, match="read-only"):
        kind.labeled[0] = False


def test_fingerprints_tell_labels_their_order_and_classes_apart(made: Made) -> None:
    swapped = [made.given[1], made.given[0], *made.given[2:]]
    prints = {held(made, given).fingerprint for given in (made.given, made.flawed, swapped, made.given[:-1])}
    prints.add(made.kind(made.wider or made.given, K + 1, frame=made.frame).fingerprint)
    assert len(prints) == 5
    assert made.kind.fingerprint_of(made.given, K) == (held(made).fingerprint, N)


def test_wrong_labels_are_refused_with_expected_got_and_fix(made: Made) -> None:
    for wrong, message in made.wrong:
        for check in (made.kind, made.kind.fingerprint_of):
            with pytest.raises(InvalidInputError, match=message) as caught:
                check(wrong, K)
            assert all(word in str(caught.value) for word in ("expected", "; got ", "; to fix: "))
    for classes in (1, 2.0, None):
        with pytest.raises(InvalidInputError, match="num_classes"):
            made.kind(made.given, classes)


def test_class_indices_are_there_where_a_label_is_one_class(made: Made) -> None:
    indices = held(made).class_indices
    if made.kind.parts is not None:
        assert indices is None
        return
    assert indices is not None
    assert indices.dtype == np.int64
    assert indices.tolist() == made.given


def test_a_frame_is_plain_json_or_refused(made: Made) -> None:
    assert made.kind.checked_frame(None) is None
    for wrong in ("wide", (0, 1)):
        with pytest.raises(InvalidInputError, match=r"frame.*; got .*; to fix"):
            made.kind.checked_frame(wrong)


def test_inputs_alone_join_with_the_kinds_own_label_for_none(made: Made) -> None:
    try:
        none = made.kind.no_label(K)
    except InvalidInputError as error:
        assert "without a label" in str(error)  # noqa: PT017 - a kind may also refuse
        return
    assert held(made, [*made.given, none]).labeled.tolist() == [*held(made).labeled.tolist(), False]


# ---------------------------------------------------------------- refined labels


def test_before_any_evidence_refined_labels_are_the_given_ones(made: Made) -> None:
    store = made.store()
    labels, refined = store.labels(), store.refined()
    for row in np.flatnonzero(store.labeled).tolist():
        assert np.array_equal(labels[row], made.given[row])
        assert torch.equal(refined[row].amax(0), torch.ones_like(refined[row][0]))
    nothing = refined[UNLABELED]
    assert nothing.isnan().all() if made.independent else not nothing.any()  # 0 says that a label is not there
    assert (np.asarray(labels[UNLABELED]) == made.kind.unlabeled).all()
    first = store.kind.first_evidence(2)
    assert first is None or first.shape == (2, *made.evidence.shape[1:])


def test_refined_labels_are_probabilities_between_given_label_and_evidence(made: Made) -> None:
    store, other = made.predicted(made.flawed, generations=3), made.predicted(generations=3)
    for one in store.refined():
        assert ((one >= 0) & (one <= 1)).all()
        if not made.independent:
            torch.testing.assert_close(one.sum(0), torch.ones_like(one[0]))
        assert one.dtype == torch.float32
    flawed, right = store.refined(1)[0], other.refined(1)[0]
    # Weight 1/4 on the wrong label, 3/4 on evidence that gives the right one 0.9 + 0.1/3.
    assert float(flawed.max()) == pytest.approx(0.75 * (0.9 + 0.1 / 3), abs=1e-6)
    assert float(right.max()) == pytest.approx(0.25 + 0.75 * (0.9 + 0.1 / 3), abs=1e-6)
    torch.testing.assert_close(store.refined(UNLABELED)[0], store.evidence(UNLABELED)[0])


def test_hard_labels_are_the_most_probable_refined_ones(made: Made) -> None:
    store = made.predicted(made.flawed, generations=3)
    for label, soft in zip(store.labels(), store.refined(), strict=True):
        assert np.array_equal(label, made.hard(soft))
    assert np.array_equal(store.labels(1)[0], made.given[1])


def test_of_equally_probable_labels_the_given_one_stays(made: Made) -> None:
    store = made.predicted(made.flawed, sharpness=1)  # weight 1/2 on each side
    assert float(store.refined(1)[0].max()) == 0.5
    rows = np.flatnonzero(store.labeled)
    assert equal(store.labels(rows), [made.flawed[row] for row in rows])


def test_trust_decides_between_the_two(made: Made) -> None:
    kind = held(made, made.flawed)
    rows = np.array([1, 2])

    def read(positions: np.ndarray) -> Tensor:
        return made.evidence[torch.from_numpy(positions)]

    given = kind.labels(rows, read, Trust(torch.ones(2)))
    assert equal(given, made.flawed[1:3])
    assert equal(kind.labels(rows, read, Trust(torch.zeros(2))), made.given[1:3])
    assert equal(kind.labels(rows, read, Trust(torch.zeros(2), floor=torch.ones(K))), given)
    one_each = kind.labels(rows, read, Trust(torch.tensor([0.0, 1.0])))
    assert equal(one_each, made.given[1:3])


def test_predictions_are_checked(made: Made) -> None:
    kind = held(made)
    kind.check_predictions(made.evidence)
    for wrong in (made.evidence + torch.nan, made.evidence * 2, made.evidence - 1, made.evidence[..., None]):
        with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
            kind.check_predictions(wrong)


def test_blocks_hold_all_samples_whatever_fits_into_memory(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    store = made.predicted()
    quality = sample_quality(store)
    for values, blocks in ((1, N), (2 * store.kind.largest, N // 2), (10**9, 1)):
        monkeypatch.setattr("noisycorrect.labels.kind.VALUES_AT_ONCE", values)
        found = list(store.kind.blocks())
        assert (len(found), np.concatenate(found).tolist()) == (blocks, list(range(N)))
        rows, evidence = zip(*store.kind.labeled_blocks(store.evidence), strict=True)
        assert np.concatenate(rows).tolist() == np.flatnonzero(store.labeled).tolist()
        assert torch.equal(torch.cat(evidence), store.evidence(np.concatenate(rows)))
        np.testing.assert_array_equal(sample_quality(store), quality)


# ---------------------------------------------------------------- comparing


def test_changes_are_counted_from_one_generation_to_the_next(made: Made) -> None:
    store = made.predicted(made.flawed, generations=3)
    changed = total = 0
    for row in range(N):
        now, then = np.asarray(store.labels(row)[0]), np.asarray(store.labels(row, generation=0)[0])
        changed += int((now != then).sum()) if now.shape == then.shape else now.size
        total += now.size
    assert changed_share(store, 0) == changed / total > 0
    assert changed_share(store, 3) == 0
    before = made.predicted()  # the sample without a label has one now
    assert 0 < changed_share(before, 0) < changed_share(store, 0)


def test_the_evidence_speaks_against_the_label_that_is_wrong(made: Made) -> None:
    for score in SCORES:
        store = made.predicted(made.flawed)
        review = review_labels(store, score=score)
        assert review.index.tolist() == np.flatnonzero(store.labeled).tolist()
        assert review.index[review.contradicted].tolist() == [1]
        assert review.share[review.contradicted].tolist() == [1.0]
        assert int(review.quality.argmin()) == review.index.tolist().index(1)
        assert ((review.quality >= 0) & (review.quality <= 1)).all()
        assert (review.given[review.contradicted] != review.suggested[review.contradicted]).all()
        (issue,) = find_label_issues(store, score=score)
        assert issue.index == 1
        assert not review_labels(made.predicted(), score=score).contradicted.any()
    quality = sample_quality(store)
    assert quality.shape == (N,)
    assert quality[UNLABELED] == 1


def test_noise_is_estimated_from_what_differs(made: Made) -> None:
    clean, flawed = (estimate_store_noise(made.predicted(given, sharpness=1)) for given in (made.given, made.flawed))
    assert clean.rate == 0
    size = [np.size(label) for label in made.given]
    labeled = [row for row in range(N) if row != UNLABELED]
    assert flawed.rate == pytest.approx(size[1] / sum(size[row] for row in labeled))
    assert flawed.interval[0] <= flawed.rate <= flawed.interval[1]
    assert (flawed.unit, flawed.contradicted) == (made.kind.parts or "labels", size[1])
    assert flawed.certainty == 1
    assert flawed.unit in flawed.verdict()


def test_quality_beside_clean_labels(made: Made) -> None:
    store = made.store(made.flawed)
    clean = made.kind.checked_clean(made.given, K, N, "clean_labels")
    found = store.kind.quality(store.labels, clean)
    size = [np.size(label) if row != UNLABELED else 0 for row, label in enumerate(made.given)]  # it is not compared
    assert found["label_accuracy"] == pytest.approx(1 - size[1] / sum(size))
    right = made.store()
    assert set(right.kind.quality(right.labels, clean).values()) == {1.0}
    read = functools.partial(made.predicted(made.flawed, generations=3).labels, generation=3)
    assert store.kind.quality(read, clean)["label_accuracy"] == 1


def test_clean_labels_of_another_number_or_sort_are_refused(made: Made) -> None:
    for wrong, message in ((made.given[:-1], f"{N} samples; got 5"), (7, "clean_labels"), (object(), "clean_labels")):
        with pytest.raises(InvalidInputError, match=message):
            made.kind.checked_clean(wrong, K, N, "clean_labels")


# ---------------------------------------------------------------- stores and plain files


def test_a_store_is_opened_by_the_name_of_its_kind(made: Made) -> None:
    store = made.predicted()
    again = SoftLabelStore.open(store.folder)
    assert type(again.kind) is made.kind
    assert again.frame == store.frame
    assert equal(again.labels(), store.labels())
    by_name = SoftLabelStore.create(None, made.given, K, kind=made.kind.name, frame=made.frame)
    assert (by_name.kind.fingerprint, by_name.codec.name) == (store.kind.fingerprint, made.kind.codec)
    again.check_given(made.given, K)
    for name in CODECS:
        try:
            assert SoftLabelStore.create(None, made.given, K, kind=made.kind, codec=name).codec.name == name
        except InvalidInputError as error:
            assert name not in made.kind.codecs
            assert made.kind.codec in str(error)  # noqa: PT017
    with pytest.raises(StoreError, match="given labels"):
        again.check_given(made.flawed, K)


def test_a_kind_that_nobody_can_find_again_is_refused(made: Made, tmp_path: Path) -> None:
    unknown = type("Unknown", (made.kind,), {"name": "unknown"})
    with pytest.raises(InvalidInputError, match=r"KINDS\.register\('unknown', Unknown\)"):
        SoftLabelStore.create(tmp_path / "new", made.given, K, kind=unknown)
    with pytest.raises(InvalidInputError, match="a known kind of labels; got 'unknown'"):
        SoftLabelStore.create(tmp_path / "new", made.given, K, kind="unknown")
    assert not (tmp_path / "new").exists()


def test_export_writes_every_label_once(made: Made, tmp_path: Path) -> None:
    store = made.predicted(made.flawed)
    count = store.kind.export(tmp_path, store.labels, None)
    assert count == N
    assert any(tmp_path.iterdir())
    if made.kind.export is LabelKind.export:
        store.kind.export(tmp_path, store.labels, store.refined)
        labels, probs, refined = np.load(tmp_path / "labels.npy"), np.load(tmp_path / "probs.npy"), store.refined()
        if isinstance(refined, list):
            refined = torch.cat([label.T for label in refined])
            labels = np.split(labels, np.load(tmp_path / "lengths.npy").cumsum()[:-1])
        assert equal(labels, store.labels())
        assert np.array_equal(probs, refined.numpy())
