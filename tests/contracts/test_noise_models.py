"""The contract that every noise model for class labels keeps."""

from __future__ import annotations

import dataclasses
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch

from noisycorrect.classification import noise
from noisycorrect.support.errors import InvalidInputError

K, N = 10, 300
_rng = np.random.default_rng(7)
LABELS = _rng.choice([label for label in range(K) if label != 8], N)  # class 8 has no samples
INPUTS = _rng.normal(size=(N, 6)).astype(np.float32)
MATERIAL: dict[str, Any] = {
    "labels_or_path": np.where(_rng.random(N) < 0.2, _rng.integers(0, K, N), LABELS),
    "pool": _rng.normal(size=(N, 6)).astype(np.float32) + 100,
    "teacher_probs": _rng.dirichlet(np.ones(K), N),
}
_random_matrix = _rng.dirichlet(np.ones(K), K)

MODELS: list[noise.NoiseModel] = [
    noise.NoNoise(),
    noise.Symmetric(0.4),
    noise.Symmetric(0.4, sampling="bernoulli"),
    noise.Symmetric(0.4, inclusive=True),
    noise.PairFlip(0.3),
    noise.PairFlip(0.3, sampling="bernoulli"),
    noise.Asymmetric(0.4),
    noise.Asymmetric(0.4, mapping={0: 9, 9: 0}, sampling="bernoulli"),
    noise.ClassConditional(_random_matrix),
    noise.ClassConditional(_random_matrix, sampling="bernoulli"),
    noise.InstanceDependent(0.4),
    noise.InstanceDependent(0.4, std=0.2, normalise="feature"),
    noise.InstanceDependent(0.4, shared_weights=True),
    noise.FeatureDependent(0.3, MATERIAL["teacher_probs"]),
    noise.OpenSet(0.3, MATERIAL["pool"]),
    noise.OpenSet(0.3, MATERIAL["pool"], sampling="bernoulli"),
    noise.Human(MATERIAL["labels_or_path"]),
    noise.Clusters(0.3),
    noise.Clusters(0.3, centres=1),
]
SEED_FREE = {"none", "human", "feature"}  # nothing to draw: feature only breaks ties, and a given teacher has none here

every_model = pytest.mark.parametrize("model", MODELS, ids=str)
drawing_model = pytest.mark.parametrize("model", [m for m in MODELS if m.name not in SEED_FREE], ids=str)


def run(model: noise.NoiseModel, seed: Any = 3, labels: Any = LABELS, inputs: Any = INPUTS) -> noise.NoisyLabels:
    return model.apply(labels, num_classes=K, seed=seed, inputs=inputs)


def same(first: noise.NoisyLabels, second: noise.NoisyLabels) -> bool:
    inputs = [None if each.inputs is None else np.asarray(each.inputs) for each in (first, second)]
    return (
        np.array_equal(first.labels, second.labels)
        and np.array_equal(first.changed, second.changed)
        and np.array_equal(inputs[0], inputs[1])
    )


def test_every_registered_model_is_under_contract() -> None:
    assert {model.name for model in MODELS} == set(noise.MODELS)


@every_model
def test_result_has_the_declared_shapes_and_dtypes(model: noise.NoiseModel) -> None:
    result = run(model)
    assert (result.labels.dtype, result.labels.shape) == (np.int64, (N,))
    assert (result.changed.dtype, result.changed.shape) == (np.bool_, (N,))
    assert (result.transition.dtype, result.transition.shape) == (np.float64, (K, K))
    assert ((result.labels >= 0) & (result.labels < K)).all()
    assert result.rate == np.count_nonzero(result.changed) / N
    assert result.details["model"] == str(model)
    assert result.details["seed"] == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.labels = LABELS  # type: ignore[misc]


@every_model
def test_changed_marks_what_changed(model: noise.NoiseModel) -> None:
    result = run(model)
    if model.name == "openset":
        assert np.array_equal(result.labels, LABELS)
        assert np.array_equal(result.changed, (np.asarray(result.inputs) != INPUTS).any(axis=1))
    else:
        assert result.inputs is None
        assert np.array_equal(result.changed, result.labels != LABELS)
    assert result.changed.any() == (model.name != "none")


@every_model
def test_transition_is_the_count_of_a_slow_loop(model: noise.NoiseModel) -> None:
    result = run(model)
    counts = np.zeros((K, K))
    for right, noisy in zip(LABELS.tolist(), result.labels.tolist(), strict=True):
        counts[right][noisy] += 1
    for label in range(K):
        total = counts[label].sum()
        expected = counts[label] / total if total else np.eye(K)[label]
        np.testing.assert_allclose(result.transition[label], expected, rtol=1e-15)
    np.testing.assert_allclose(result.transition.sum(axis=1), 1.0, rtol=1e-12)
    assert result.transition[8, 8] == 1.0


@every_model
def test_a_seed_gives_the_same_noise_again(model: noise.NoiseModel) -> None:
    sequence = np.random.SeedSequence(3)
    first = run(model)
    assert same(first, run(model))
    assert same(first, run(model, np.int64(3)))
    assert same(first, run(model, sequence))
    assert same(first, run(model, sequence))
    assert sequence.n_children_spawned == 0


@drawing_model
def test_another_seed_gives_other_noise(model: noise.NoiseModel) -> None:
    assert not same(run(model, 3), run(model, 4))
    assert not same(run(model, np.random.SeedSequence(3)), run(model, np.random.SeedSequence(3).spawn(1)[0]))


@pytest.mark.parametrize("model", [m for m in MODELS if m.name in SEED_FREE], ids=str)
def test_a_model_without_draws_ignores_the_seed(model: noise.NoiseModel) -> None:
    assert same(run(model, 3), run(model, 4))


@every_model
def test_the_callers_arrays_stay_as_they_were(model: noise.NoiseModel) -> None:
    labels, inputs = LABELS.copy(), INPUTS.copy()
    material = {name: array.copy() for name, array in MATERIAL.items()}
    for array in (labels, inputs):
        array.setflags(write=False)
    result = run(model, labels=labels, inputs=inputs)
    for source in (labels, *MATERIAL.values()):
        assert not np.shares_memory(result.labels, source)
    assert result.labels.flags.writeable
    if result.inputs is not None:
        assert not np.shares_memory(np.asarray(result.inputs), inputs)
    assert np.array_equal(labels, LABELS)
    assert np.array_equal(inputs, INPUTS)
    for name, array in material.items():
        assert np.array_equal(array, MATERIAL[name])


@every_model
def test_lists_arrays_and_tensors_give_the_same(model: noise.NoiseModel) -> None:
    expected = run(model)
    assert same(expected, run(model, labels=LABELS.tolist()))
    assert same(expected, run(model, labels=LABELS.astype(np.uint8)))
    from_tensors = run(model, labels=torch.from_numpy(LABELS.astype(np.int32)), inputs=torch.from_numpy(INPUTS))
    assert same(expected, from_tensors)
    assert (from_tensors.inputs is None) == (expected.inputs is None)
    assert from_tensors.inputs is None or isinstance(from_tensors.inputs, torch.Tensor)


@every_model
def test_global_random_states_are_neither_read_nor_moved(model: noise.NoiseModel) -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what is under test
    torch.manual_seed(1)
    expected = run(model)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    again = run(model)
    assert random.getstate() == states[0]
    assert np.array_equal(np.random.get_state()[1], states[1][1])  # noqa: NPY002
    assert np.random.get_state()[2] == states[1][2]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    assert same(expected, again)
    assert same(expected, run(model))


@pytest.mark.parametrize("model", [m for m in MODELS if hasattr(m, "rate")], ids=str)
def test_rate_zero_changes_nothing(model: Any) -> None:
    result = run(dataclasses.replace(model, rate=0.0))
    assert not result.changed.any()
    assert np.array_equal(result.labels, LABELS)
    assert np.array_equal(result.transition, np.eye(K))
    if result.inputs is not None:
        assert np.array_equal(result.inputs, INPUTS)


@every_model
def test_the_spelling_parses_back(model: noise.NoiseModel) -> None:
    again = noise.parse(str(model), **MATERIAL)
    assert type(again) is type(model)
    assert str(again) == str(model)
    assert same(run(again), run(model))


@every_model
def test_a_model_is_an_immutable_value_that_pickles(model: noise.NoiseModel) -> None:
    copied = pickle.loads(pickle.dumps(model))
    assert same(run(copied), run(model))
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.rate = 0.9  # type: ignore[attr-defined]


BAD_LABELS = [
    (np.array([0, 1, 10]), r"labels in 0\.\.9; got 10 at index 2"),
    ([0, -1, -2], r"labels in 0\.\.9; got -1 at index 1 \(2 outside"),
    (np.array([0.0, 1.0]), "integer labels; got dtype float64"),
    (torch.tensor([0.0, float("nan")]), "integer labels; got dtype float32"),
    (np.array([True, False]), "integer labels; got dtype bool"),
    (np.zeros((4, 4), dtype=int), r"shape \(N,\); got shape \(4, 4\)"),
    ([[0], [1, 2]], "got a ragged sequence"),
    (np.array([], dtype=int), "at least one sample"),
]


@every_model
@pytest.mark.parametrize(("labels", "message"), BAD_LABELS, ids=[message for _, message in BAD_LABELS])
def test_bad_labels_are_refused(model: noise.NoiseModel, labels: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run(model, labels=labels)


@every_model
def test_bad_seeds_and_class_counts_are_refused(model: noise.NoiseModel) -> None:
    for seed in (None, -1, True, 1.5, "0", np.random.default_rng(0)):
        with pytest.raises(InvalidInputError, match=r"expected seed to be an integer .* to fix: .* pass seed=0"):
            run(model, seed=seed)
    for num_classes in (1, 0, 10.0, True, None):
        with pytest.raises(InvalidInputError, match="num_classes to be an integer of at least 2"):
            model.apply(LABELS, num_classes=num_classes, seed=0, inputs=INPUTS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "model", [noise.InstanceDependent(0.4), noise.FeatureDependent(0.3), MODELS[14], noise.Clusters(0.3)], ids=str
)
def test_models_that_need_inputs_say_so(model: noise.NoiseModel) -> None:
    with pytest.raises(InvalidInputError, match=rf"inputs, because '{model.name}' noise depends on them; got none"):
        run(model, inputs=None)
    with pytest.raises(
        InvalidInputError, match=r"one input for each of the 300 labels; got inputs of shape \(299, 6\)"
    ):
        run(model, inputs=INPUTS[1:])
