"""What every label store promises, of rows and of maps, however encoded; test_kinds.py has every kind of labels."""

from __future__ import annotations

import copy
import functools
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noisycorrect.labels import Rule, SoftLabelStore, Trust
from noisycorrect.labels.compare import changed_share
from noisycorrect.multilabel.kind import MultiLabels
from noisycorrect.support.errors import InvalidInputError, StaleGenerationError, StoreError
from noisycorrect.tokens.kind import TokenLabels
from noisycorrect_seg.kind import MaskLabels

SAMPLES, CLASSES, SIZE = 7, 4, (36, 32)  # maps large enough to be compressed
MOMENTUM = 0.6
UNLABELED = (2, 6)
LENGTHS = (3, 5, 1, 2, 6, 4, 6)  # of sequences


@dataclass(frozen=True)
class Variant:
    kind: str
    codec: str
    evidence: str = "mean"
    unlabeled: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-{self.codec}-{self.evidence}{'-unlabeled' if self.unlabeled else ''}"

    @property
    def masks(self) -> bool:
        return self.kind == MaskLabels.name

    @property
    def tokens(self) -> bool:
        return self.kind == TokenLabels.name

    @property
    def exclusive(self) -> bool:
        """Whether a label is one of the classes, whose probabilities sum to 1."""
        return self.kind != MultiLabels.name

    def given(self) -> Any:
        rng = np.random.default_rng(0)
        if self.kind == MultiLabels.name:
            entries = rng.integers(0, 2, (SAMPLES, CLASSES))
            entries[list(UNLABELED) if self.unlabeled else []] = -1
            return entries
        if self.tokens:
            sequences = [rng.choice([0, 1, 2, 3, -100], size=length) for length in LENGTHS]
            for index, own in enumerate(sequences):
                own[0] = index % CLASSES
                own[:] = -1 if self.unlabeled and index in UNLABELED else own
            return sequences
        if not self.masks:
            labels = rng.integers(0, CLASSES, SAMPLES)
            labels[list(UNLABELED) if self.unlabeled else []] = -1
            return labels
        masks: list[Any] = [rng.choice([0, 1, 2, 3, 255], size=SIZE).astype(np.uint8) for _ in range(SAMPLES)]
        for index in UNLABELED if self.unlabeled else ():
            masks[index] = None
        return masks

    @functools.cache  # noqa: B019 - a handful of frozen variants
    def probs(self, generation: int) -> Tensor:
        generator = torch.Generator().manual_seed(generation)
        shape = SIZE if self.masks else (max(LENGTHS),) if self.tokens else ()
        logits = torch.randn(SAMPLES, CLASSES, *shape, generator=generator).mul(2)
        return logits.softmax(1) if self.exclusive else logits.sigmoid()

    def cut(self, values: Any, index: int) -> Any:
        """Return what belongs to a sample of values (K, ...) about it: of a sequence its length."""
        return values[:, : LENGTHS[index]] if self.tokens else values

    def create(self, folder: Path, **options: Any) -> SoftLabelStore:
        fields = {"kind": self.kind, "codec": self.codec, "evidence": self.evidence, "momentum": MOMENTUM}
        return SoftLabelStore.create(folder, self.given(), CLASSES, **{**fields, **options})


VARIANTS = [
    Variant("classification", "float32"),
    Variant("classification", "float32", unlabeled=True),
    Variant("classification", "float32", "exponential", unlabeled=True),
    Variant("classification", "sqrt-uint8"),
    Variant("classification", "sqrt-uint8", unlabeled=True),
    Variant("segmentation", "sqrt-uint8"),
    Variant("segmentation", "sqrt-uint6-floor"),
    Variant("segmentation", "sqrt-uint8", unlabeled=True),
    Variant("segmentation", "sqrt-uint6"),
    Variant("segmentation", "sqrt-uint8", "exponential"),
    Variant("segmentation", "float32"),
    Variant("segmentation", "float32", unlabeled=True),
    Variant("multilabel", "float32"),
    Variant("multilabel", "float32", "exponential", unlabeled=True),
    Variant("tokens", "float32", unlabeled=True),
    Variant("tokens", "sqrt-uint8", "exponential"),
]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Skip waiting for the disk, which these tests never crash, and starting threads for tiny tensors."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=VARIANTS, ids=str)
def variant(request: pytest.FixtureRequest) -> Variant:
    chosen: Variant = request.param
    return chosen


@pytest.fixture
def store(variant: Variant, tmp_path: Path) -> SoftLabelStore:
    return variant.create(tmp_path / "labels")


def advance(store: SoftLabelStore, variant: Variant, generations: int = 1) -> None:
    for _ in range(generations):
        probs = variant.probs(store.generation + 1)
        with store.new_generation() as writer:
            writer.write(range(4), probs[:4])
            writer.write(range(4, SAMPLES), probs[4:])


def evidence_oracle(variant: Variant, generation: int) -> np.ndarray:
    past = [variant.probs(number + 1).double().numpy() for number in range(generation)]
    if variant.evidence == "mean":
        return np.asarray(np.mean(past, axis=0))
    evidence = past[0]
    for each in past[1:]:
        evidence = MOMENTUM * evidence + (1 - MOMENTUM) * each
    return evidence


def onehot_oracle(variant: Variant) -> np.ndarray:
    """Return given labels as float64 (N, K, ...); zeros where there is none."""
    out = np.zeros(variant.probs(1).shape)
    for index, label in enumerate(variant.given()):
        if label is not None:
            for k in range(CLASSES):
                one = np.asarray(label) == k if variant.exclusive else max(0, label[k])
                variant.cut(out[index], index)[k] = one
    return out


def gathered_error(store: SoftLabelStore, variant: Variant, generation: int) -> float:
    """Return the bound of the codec's docstring on evidence that was encoded `generation` times."""
    once = store.codec.max_error(CLASSES)
    if variant.codec == "float32":
        once = 1e-6
    return once * ((generation + 1) / 2 if variant.evidence == "mean" else 1 / (1 - MOMENTUM))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Trust):
        return same(left.weight, right.weight) and (left.floor, left.rule) == (right.floor, right.rule) == (None, None)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    left, right = np.asarray(left), np.asarray(right)
    return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")


# -------------------------------------------------------------------- what can be read


def test_generation_0_is_the_given_labels(store: SoftLabelStore, variant: Variant) -> None:
    assert (len(store), store.num_classes, store.kind.name) == (SAMPLES, CLASSES, variant.kind)
    assert (store.generation, store.generations, store.codec.name) == (0, (0,), variant.codec)
    expected = [index not in UNLABELED or not variant.unlabeled for index in range(SAMPLES)]
    assert store.labeled.tolist() == expected
    assert store.trust().weight.tolist() == [float(each) for each in expected]
    assert str(SAMPLES) in repr(store)
    for index, label in enumerate(variant.given()):
        label = np.zeros((0, 0)) if label is None else label
        np.testing.assert_array_equal(store.given(index)[0], label)
        if variant.masks:
            assert store.given(index)[0].dtype == np.uint8
            np.testing.assert_array_equal(store.labels(index)[0], label)
            assert store.refined(index)[0].shape == (CLASSES, *label.shape)
        if expected[index]:
            onehot = variant.cut(onehot_oracle(variant)[index], index)
            np.testing.assert_array_equal(np.asarray(store.refined(index)[0]), onehot)
    if not variant.masks:
        assert same(store.labels(), variant.given())
        assert all(label.dtype == np.int64 for label in (*store.given(), *store.labels()))
    if variant.kind == "classification":
        assert torch.equal(store.evidence(), torch.zeros(SAMPLES, CLASSES))
    else:
        with pytest.raises(StoreError, match="generation >= 1; got generation 0"):
            store.evidence()
    with pytest.raises(StoreError, match="generation >= 1; got generation 0"):
        store.code(0)


def test_evidence_trust_and_refined_labels_after_three_cycles(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant, 3)
    assert (store.generation, store.generations) == (3, (0, 2, 3))
    assert same(store.given(), [np.zeros((0, 0)) if g is None else g for g in variant.given()])
    trust = store.trust().weight
    np.testing.assert_allclose(trust.numpy(), store.labeled / 4, rtol=1e-6)
    evidence, tolerance = store.evidence(), gathered_error(store, variant, 3)
    assert (evidence.dtype, trust.dtype) == (torch.float32, torch.float32)
    assert evidence.shape == variant.probs(1).shape
    if variant.exclusive:
        np.testing.assert_allclose(evidence.sum(1).numpy(), 1, atol=1e-5)
    np.testing.assert_allclose(evidence.numpy(), evidence_oracle(variant, 3), rtol=0, atol=tolerance)
    onehot, refined = onehot_oracle(variant), store.refined()
    for index in range(SAMPLES):
        weight = 0.25 * store.labeled[index]
        expected = variant.cut(weight * onehot[index] + (1 - weight) * evidence_oracle(variant, 3)[index], index)
        ignores = 255 if variant.masks else -100
        ignored = np.asarray(variant.given()[index]) == ignores
        assert refined[index].dtype == torch.float32
        np.testing.assert_allclose(refined[index].numpy(), expected * ~ignored, rtol=0, atol=tolerance)
        found = (refined[index] > 0.5).long()
        if variant.exclusive:
            np.testing.assert_allclose(refined[index].sum(0).numpy(), 1.0 - ignored, atol=1e-5)
            given = torch.as_tensor(variant.cut(onehot[index], index))
            found = (refined[index].double() + 1e-10 * given).argmax(0)  # of equal ones, which codecs make, the given
        np.testing.assert_array_equal(store.labels(index)[0], np.where(ignored, ignores, found.numpy()))


def test_earlier_generations_stay_readable(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant)
    first = [store.evidence().clone(), store.trust(), store.refined(), store.labels(), store.code()]
    advance(store, variant)
    assert store.trust(0).weight.item() == pytest.approx(1 / 3)
    again = [read(generation=1) for read in (store.evidence, store.trust, store.refined, store.labels, store.code)]
    for before, after in zip(first, again, strict=True):
        assert same(before, after)
    assert not same(store.code(), store.code(generation=1))
    assert store.trust(generation=0).weight.tolist() == [float(each) for each in store.labeled]
    assert same(store.labels(0, generation=0), store.given(0))


@pytest.mark.parametrize(
    ("indices", "rows"),
    [
        (3, [3]),
        (slice(1, 6, 2), [1, 3, 5]),
        (slice(-2, None), [5, 6]),
        ([4, 0, 4], [4, 0, 4]),
        (range(2), [0, 1]),
        ([], []),
        (np.arange(6)[::-1], [5, 4, 3, 2, 1, 0]),
        (np.array([1], np.uint8), [1]),
        (torch.tensor([6, 1]), [6, 1]),
        (torch.tensor(2), [2]),
        (None, list(range(SAMPLES))),
    ],
)
def test_positions_of_every_form(store: SoftLabelStore, variant: Variant, indices: Any, rows: list[int]) -> None:
    advance(store, variant)
    assert same(store.evidence(indices), store.evidence()[rows])
    assert same(store.trust(indices).weight, store.trust().weight[rows])
    assert same(store.code(indices), store.code()[rows])
    for read in (store.given, store.refined, store.labels):
        whole: Any = read()
        assert same(list(read(indices)), [whole[row] for row in rows])


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (SAMPLES, r"indices in 0\.\.6; got 7\.\.7"),
        (-1, r"indices in 0\.\.6; got -1"),
        ([0.0, 1.0], "whole numbers, shape .* got float64"),
        (np.ones(SAMPLES, bool), "got bool .* np.flatnonzero"),
        ([[0, 1]], r"of shape \(1, 2\)"),
    ],
)
def test_bad_positions(store: SoftLabelStore, variant: Variant, indices: Any, message: str) -> None:
    advance(store, variant)
    for read in (store.given, store.evidence, store.trust, store.refined, store.labels, store.code):
        with pytest.raises(InvalidInputError, match=message):
            read(indices)


# -------------------------------------------------------------------- what can never be altered


def scribble(value: Any) -> None:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, Tensor) or each.flags.writeable:
            each[:] = 77


def test_what_is_returned_is_not_the_store(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant)
    reads: list[Callable[[], Any]] = [
        store.given,
        store.evidence,
        lambda rows=None: store.trust(rows).weight,
        store.refined,
        store.labels,
        store.code,
        lambda: store.labeled,
        lambda: store.trust(generation=0).weight,
        lambda: store.refined(generation=0),
    ]
    before = [copy.deepcopy(read()) for read in reads]
    for read in reads:
        scribble(read())
    for read, expected in zip(reads, before, strict=True):
        assert same(read(), expected)
    for read in reads[:6]:
        for each in read(slice(2)):  # type: ignore[call-arg]
            torch.as_tensor(each)  # no warning of a read-only array


def test_given_labels_stay_the_same_bytes(store: SoftLabelStore, variant: Variant) -> None:
    before = (store.folder / "given.h5").read_bytes()
    advance(store, variant, 3)
    store.rollback(2)
    advance(store, variant)
    SoftLabelStore.open(store.folder, writable=True)
    assert (store.folder / "given.h5").read_bytes() == before


def test_what_was_passed_is_not_altered(store: SoftLabelStore, variant: Variant) -> None:
    probs, indices = variant.probs(1).clone().requires_grad_(), np.arange(SAMPLES)
    indices.flags.writeable = False
    before = probs.detach().clone()
    advance(store, variant)
    with store.new_generation() as writer:
        writer.write(indices, probs)
    assert torch.equal(probs.detach(), before)
    assert indices.tolist() == list(range(SAMPLES))


# -------------------------------------------------------------------- writing


def test_the_order_of_writing_does_not_matter(variant: Variant, tmp_path: Path) -> None:
    stores = [variant.create(tmp_path / name) for name in ("sorted", "shuffled", "single")]
    orders = [[range(SAMPLES)], [[5, 0, 6], [3, 1], [2, 4], []], [[index] for index in range(SAMPLES)]]
    for store, order in zip(stores, orders, strict=True):
        for number in (1, 2):
            with store.new_generation() as writer:
                for rows in order:
                    writer.write(torch.tensor(list(rows), dtype=torch.long), variant.probs(number)[list(rows)])
    for store in stores[1:]:
        assert same(store.code(), stores[0].code())
        assert same(store.trust().weight, stores[0].trust().weight)


def wrong_probs(variant: Variant) -> dict[str, tuple[Any, Tensor, str]]:
    probs = variant.probs(1)
    unsummed, nan = probs.clone(), probs.clone()
    unsummed[3] = unsummed[3] * 1.01 if variant.exclusive else 1.01
    nan[1] = torch.nan
    everything = range(SAMPLES)
    return {
        "missing": (range(SAMPLES - 1), probs[:-1], "predictions for all 7 samples; got 6; first missing: 6"),
        "nothing": ([], probs[:0], "got 0; first missing: 0"),
        "twice": ([0, 1, 2, 3, 4, 5, 5], probs, "each sample once"),
        "outside": ([0, 1, 2, 3, 4, 5, 7], probs, r"indices in 0\.\.6; got 7"),
        "negative": ([-1, 1, 2, 3, 4, 5, 6], probs, r"indices in 0\.\.6; got -1"),
        "fractions": (np.arange(7.0), probs, "whole numbers, for 7 predictions; got float64"),
        "few indices": (range(6), probs, r"7 indices, .*got int64 of shape \(6,\)"),
        "classes": (everything, probs[:, :3], r"shape \(N, 4, \.\.\.\); got shape \(7, 3.*num_classes"),
        "logits": (everything, probs.log(), "softmax|sigmoid"),
        "sum": (everything, unsummed, r"1\.01"),
        "nan": (everything, nan, "got NaN"),
        "dimensions": (everything, probs[..., None], r"shape \(n, K.*this store is one for"),
    }


@pytest.mark.parametrize("case", list(wrong_probs(VARIANTS[0])))
def test_bad_predictions_leave_the_store_as_it_was(store: SoftLabelStore, variant: Variant, case: str) -> None:
    advance(store, variant)
    before = contents(store.folder)
    indices, probs, message = wrong_probs(variant)[case]
    with pytest.raises(InvalidInputError, match=message), store.new_generation() as writer:
        writer.write(indices, probs)
    assert contents(store.folder) == before
    assert store.generation == 1
    advance(store, variant)
    assert store.generation == 2


def test_a_sample_twice_in_two_writes(store: SoftLabelStore, variant: Variant) -> None:
    with store.new_generation() as writer:
        writer.write([0, 1], variant.probs(1)[:2])
        with pytest.raises(InvalidInputError, match="written before"):
            writer.write([1], variant.probs(1)[:1])
        writer.write(range(2, SAMPLES), variant.probs(1)[2:])
    np.testing.assert_allclose(store.evidence(), variant.probs(1), atol=gathered_error(store, variant, 1))


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_exception_in_the_block_leaves_the_store_as_it_was(
    store: SoftLabelStore, variant: Variant, error: type[BaseException]
) -> None:
    advance(store, variant)
    before = contents(store.folder)

    def write() -> None:
        with store.new_generation() as writer:
            writer.write([0], variant.probs(2)[:1])
            raise error

    with pytest.raises(error):
        write()
    assert contents(store.folder) == before
    advance(store, variant)


def test_a_writer_outlives_an_error_that_is_caught(store: SoftLabelStore, variant: Variant) -> None:
    probs = variant.probs(1)
    with store.new_generation() as writer:
        with pytest.raises(InvalidInputError, match="softmax|sigmoid"):
            writer.write(range(SAMPLES), probs * 2)
        writer.write(range(SAMPLES), probs)
    np.testing.assert_allclose(store.evidence(), probs, atol=gathered_error(store, variant, 1))


@pytest.mark.parametrize("variant", [each for each in VARIANTS if each.masks], ids=str)
def test_maps_of_another_size_are_refused(store: SoftLabelStore, variant: Variant) -> None:
    small = variant.probs(1)[..., :5]
    with store.new_generation() as writer:
        writer.write([0], variant.probs(1)[:1])
        with pytest.raises(InvalidInputError, match=r"shape \(n, 4, 36, 32\); got"):
            writer.write([1], small[:1])
        writer.write(range(1, SAMPLES), variant.probs(1)[1:])
    with (
        pytest.raises(InvalidInputError, match=r"as in generation 1; .*canonical frame"),
        store.new_generation() as writer,
    ):
        writer.write(range(SAMPLES), small)


@pytest.mark.parametrize("wrong", [torch.nan, 1.5, -0.1])
def test_a_trust_rule_sets_the_weight_and_is_checked(store: SoftLabelStore, variant: Variant, wrong: float) -> None:
    seen = []

    def rule(given: Tensor, evidence: Tensor, generation: int) -> Tensor:
        seen.append((given.tolist(), tuple(evidence.shape), generation))
        return torch.full((len(given),), 0.875)

    with store.new_generation(trust=rule) as writer:
        writer.write(range(SAMPLES), variant.probs(1))
    given = store.labeled.tolist() if store.kind.class_indices is None else list(variant.given())
    assert seen == [(given, tuple(variant.probs(1).shape), 1)]
    np.testing.assert_array_equal(store.trust().weight.numpy(), 0.875 * store.labeled)
    with (
        pytest.raises(InvalidInputError, match=r"trust of shape \(7,\) in \[0, 1\]"),
        store.new_generation(trust=lambda given, *_: torch.full((len(given),), wrong)) as writer,
    ):
        writer.write(range(SAMPLES), variant.probs(1))
    assert store.generation == 1


def test_trust_may_be_the_weights_of_all_samples(store: SoftLabelStore, variant: Variant) -> None:
    weights = torch.linspace(0.25, 1, SAMPLES)
    with store.new_generation(trust=weights) as writer:  # in any order
        writer.write([3, 1], variant.probs(1)[[3, 1]])
        writer.write([0, 2, *range(4, SAMPLES)], variant.probs(1)[[0, 2, *range(4, SAMPLES)]])
    np.testing.assert_array_equal(store.trust().weight.numpy(), weights.numpy() * store.labeled)
    for form in (weights.numpy(), weights.double(), weights.tolist()):
        store.rollback(0)
        with store.new_generation(trust=form) as writer:
            writer.write(range(SAMPLES), variant.probs(1))
        np.testing.assert_array_equal(store.trust().weight.numpy(), weights.numpy() * store.labeled)
    for wrong in (weights[:-1], torch.cat([weights, weights]), weights[None], "paper", [None] * SAMPLES, 0.5):
        with (
            pytest.raises(InvalidInputError, match=r"trust of shape \(7,\) in \[0, 1\]"),
            store.new_generation(trust=wrong),  # type: ignore[arg-type]
        ):
            pass
    weights[2] = 1.5
    with (
        pytest.raises(InvalidInputError, match=r"trust of shape \(7,\) in \[0, 1\]"),
        store.new_generation(trust=weights) as writer,
    ):
        writer.write(range(SAMPLES), variant.probs(1))
    assert store.generation == 1


@pytest.mark.parametrize(
    ("rule", "message"), [("agrement", "did you mean 'agreement'"), ("mixture", "needs nothing of the whole set")]
)
def test_a_rule_that_cannot_be_kept_publishes_nothing(
    store: SoftLabelStore, variant: Variant, rule: str, message: str
) -> None:
    def write() -> None:
        with store.new_generation() as writer:
            writer.write(range(SAMPLES), variant.probs(1))
            writer.rule = rule

    with pytest.raises(InvalidInputError, match=message):
        write()
    assert store.generation == 0


def test_floor_and_rule_are_kept_with_their_generation(store: SoftLabelStore, variant: Variant) -> None:
    floor = torch.tensor([0.0, 0.25, 0.5, 1.0])
    with store.new_generation(trust=lambda given, *_: torch.full((len(given),), 0.5)) as writer:
        writer.write(range(SAMPLES), variant.probs(1))
        writer.floor, writer.rule = floor, "agreement"
    trust = SoftLabelStore.open(store.folder).trust([3, 1])
    assert torch.equal(trust.weight, torch.full((2,), 0.5))
    assert trust.floor is not None
    assert torch.equal(trust.floor, floor)
    assert trust.rule == Rule("agreement")
    trust.floor[:] = 7
    assert torch.equal(store.trust().floor, floor)  # type: ignore[arg-type]
    assert store.trust(generation=0).floor is store.trust(generation=0).rule is None
    one = variant.given()[0]
    evidence = store.evidence(0)[0].double().numpy()
    if not variant.exclusive:
        agreement = np.where(one == 1, evidence, 1 - evidence)
        weight = np.maximum(0.5 * agreement, floor.numpy())
        np.testing.assert_allclose(store.refined(0)[0], weight * one + (1 - weight) * evidence, atol=1e-5)
        return
    expected = variant.cut(np.zeros(variant.probs(1)[0].shape), 0)
    for place in np.ndindex(expected.shape[1:]):
        label = int(np.asarray(one)[place])
        if label in (255, -100):
            continue
        own = evidence[(slice(None), *place)]
        weight = max(0.5 * own[label], float(floor[label]))
        expected[(slice(None), *place)] = (1 - weight) * own
        expected[(label, *place)] += weight
    np.testing.assert_allclose(store.refined(0)[0], expected, atol=1e-5)


def test_what_is_held_out_is_kept_with_its_generation(store: SoftLabelStore, variant: Variant) -> None:
    held_out = np.arange(SAMPLES) % 3 == 0
    assert not store.held_out().any()
    with store.new_generation() as writer:
        writer.write(range(SAMPLES), variant.probs(1))
        writer.held_out = held_out
    assert np.array_equal(SoftLabelStore.open(store.folder).held_out(), held_out)
    assert not store.held_out(generation=0).any()
    store.held_out()[:] = True
    assert np.array_equal(store.held_out(), held_out)


@pytest.mark.parametrize("wrong", [np.ones(SAMPLES - 1, bool), np.ones(SAMPLES, int)])
def test_a_wrong_held_out_publishes_nothing(store: SoftLabelStore, variant: Variant, wrong: np.ndarray) -> None:
    def write() -> None:
        with store.new_generation() as writer:
            writer.write(range(SAMPLES), variant.probs(1))
            writer.held_out = wrong

    with pytest.raises(InvalidInputError, match=r"held_out of shape \(7,\), bool"):
        write()
    assert store.generation == 0


def test_two_writers_at_once_do_not_lose_a_generation(store: SoftLabelStore, variant: Variant) -> None:
    other = SoftLabelStore.open(store.folder, writable=True)
    advance(store, variant)
    assert other.generation == 0
    probs = variant.probs(2)
    with other.new_generation() as writer:  # of generation 1, which `other` had not noticed
        writer.write(range(SAMPLES), probs)
    assert other.generation == 2
    np.testing.assert_allclose(other.evidence(), evidence_oracle(variant, 2), atol=gathered_error(store, variant, 2))


def test_a_generation_inside_another_one_does_not_mix_with_it(store: SoftLabelStore, variant: Variant) -> None:

    def nest() -> None:
        with store.new_generation() as outer:
            advance(store, variant)
            outer.write(range(SAMPLES), variant.probs(9))

    with pytest.raises(StoreError, match="to write into"):
        nest()
    assert store.generation == 1
    again = SoftLabelStore.open(store.folder)
    np.testing.assert_allclose(again.evidence(), variant.probs(1), atol=gathered_error(store, variant, 1))


# -------------------------------------------------------------------- read-only, copies, history


def test_a_read_only_store_refuses_to_be_changed(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant, 2)
    before = contents(store.folder)
    for reader in (SoftLabelStore.open(store.folder), pickle.loads(pickle.dumps(store))):
        assert not reader.writable
        with pytest.raises(StoreError, match=r"writable store; got .* writable=True"):
            advance(reader, variant)
        with pytest.raises(StoreError, match="writable store"):
            reader.rollback(1)
    assert contents(store.folder) == before


def test_a_pickled_copy_reads_the_same_and_notices_after_refresh(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant)
    store.evidence(0)
    stored = pickle.dumps(store)
    assert len(stored) < 10_000  # no labels maps in it
    reader = pickle.loads(stored)
    for read in ("given", "evidence", "trust", "refined", "labels", "code"):
        assert same(getattr(reader, read)(), getattr(store, read)())
    advance(store, variant)
    assert reader.generation == 1
    reader.refresh()
    assert reader.generation == 2
    assert same(reader.evidence(), store.evidence())


def test_a_reader_that_missed_a_pruned_generation_is_told(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant)
    read = SoftLabelStore.open(store.folder)
    unread = pickle.loads(pickle.dumps(read))  # as a worker gets it, with no file open
    before = read.evidence()
    advance(store, variant, 2)
    with pytest.raises(StaleGenerationError, match=r"refresh\(\)"):
        unread.evidence(0)
    assert same(read.evidence(), before)  # whole, from the file that it holds open
    unread.refresh()
    assert same(unread.evidence(), store.evidence())


@pytest.mark.parametrize(("keep", "kept"), [(2, (0, 4, 5)), (3, (0, 3, 4, 5)), (None, (0, 1, 2, 3, 4, 5))])
def test_history_is_kept_or_pruned(variant: Variant, tmp_path: Path, keep: int | None, kept: tuple[int, ...]) -> None:
    store = variant.create(tmp_path / "labels", keep=keep)
    advance(store, variant, 5)
    assert store.generations == SoftLabelStore.open(store.folder).generations == kept
    assert len(list(store.folder.iterdir())) == len(kept) - 1 + 3  # manifest, given labels, lock
    for number in range(7):
        if number in kept:
            store.labels(0, generation=number)
        else:
            with pytest.raises(StaleGenerationError, match=f"got {number}; to fix: keep more"):
                store.labels(0, generation=number)


def test_rollback_forgets_and_the_same_number_may_come_again(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant, 2)
    second = store.evidence().clone()
    reader = SoftLabelStore.open(store.folder)
    assert same(reader.evidence(), second)
    store.rollback(2)  # nothing to do
    store.rollback(1)
    assert (store.generation, store.generations) == (1, (0, 1))
    assert {path.name for path in store.folder.iterdir()} == {"given.h5", "manifest.json", "lock", "generation-0001.h5"}
    with store.new_generation() as writer:
        writer.write(range(SAMPLES), variant.probs(9))
    assert not same(store.evidence(), second)
    reader.refresh()
    assert same(reader.evidence(), store.evidence())
    with pytest.raises(StaleGenerationError, match="got 5"):
        store.rollback(5)
    store.rollback(0)
    assert (store.generation, store.generations) == (0, (0,))
    assert {path.name for path in store.folder.iterdir()} == {"given.h5", "manifest.json", "lock"}
    advance(store, variant, 2)
    assert same(store.evidence(), second)


def test_an_export_is_the_same_store_elsewhere(store: SoftLabelStore, variant: Variant, tmp_path: Path) -> None:
    advance(store, variant, 2)
    before = contents(store.folder)
    taken = store.export(tmp_path / "a" / "copy")
    assert contents(taken.folder) == contents(store.folder) == before
    assert not taken.writable
    assert same(taken.refined(), store.refined())
    advance(store, variant)
    assert (taken.generation, taken.generations) == (2, (0, 1, 2))
    for folder in (taken.folder, store.folder):
        before = contents(folder)
        with pytest.raises(StoreError, match="new or empty folder"):
            store.export(folder)
        assert contents(folder) == before


def test_a_temporary_store_goes_with_its_object(variant: Variant) -> None:
    store = SoftLabelStore.create(None, variant.given(), CLASSES, kind=variant.kind)
    folder = store.folder
    advance(store, variant)
    assert store.bytes == sum(path.stat().st_size for path in folder.iterdir())
    del store
    assert not folder.exists()


def test_the_share_of_changed_labels(store: SoftLabelStore, variant: Variant) -> None:
    advance(store, variant, 2)  # after one cycle of Eq. 7 no label can have changed
    changed = total = 0
    for index in range(SAMPLES):
        now, then = np.atleast_1d(store.labels(index)[0]), np.atleast_1d(store.labels(index, generation=0)[0])
        changed += int((now != then).sum()) if store.labeled[index] else now.size
        total += now.size
    assert changed_share(store, 0) == changed / total > 0
    assert changed_share(store, 2) == 0
