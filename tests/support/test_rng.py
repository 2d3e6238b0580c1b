"""Streams of random numbers: each has a name of its own, and no two of a run are one."""

import ast
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, ONLINE, QUIET, blobs, network

from noisycorrect import RECIPES, CrossFitting, SelfCorrector, TaskLoss
from noisycorrect.support import rng
from noisycorrect.support.rng import derived_seed, seeded

PACKAGES = ("noisycorrect", "noisycorrect_seg", "benchmarks")


def test_a_seed_depends_on_everything_that_names_its_stream():
    streams = [
        (seed, purpose, *where)
        for seed in (0, 4, 2**62)
        for purpose in ("order", "halves")
        for where in ((), (0,), (4,), (5,), (4, 0), (0, 4), (4, 0, 0))
    ]
    seeds = [derived_seed(*stream) for stream in streams]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [derived_seed(*stream) for stream in streams]
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_numbers_of_a_stream_are_those_of_its_seed_on_every_machine():
    """Recorded: a figure with a seed is the same one tomorrow."""
    expected = np.random.SeedSequence((3, 7, zlib.crc32(b"order of samples"), 2)).generate_state(1, np.uint64)[0]
    assert derived_seed(7, "order of samples", 2) == int(expected) >> 1 == 1216549317374943146


def test_a_block_is_seeded_and_leaves_the_callers_generators_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(0, "one", 3):
        first = torch.rand(2), np.random.rand(2)  # noqa: NPY002 - the global state is what is under test
    with seeded(0, "one", 3):
        again = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    with seeded(0, "two", 3):
        other = torch.rand(2), np.random.rand(2)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before)
    for one, same, different in zip(first, again, other, strict=True):
        assert (one == same).all()
        assert (one != different).all()


@pytest.fixture
def streams(monkeypatch):
    """Every stream that is seeded, as its name with its places, and its seed."""
    seen = {}

    def noted(seed, purpose, *where):
        seen[seed, purpose, where] = value = derived_seed(seed, purpose, *where)
        return value

    for module in list(sys.modules.values()):
        if getattr(module, "derived_seed", None) is derived_seed and module.__name__ != __name__:
            monkeypatch.setattr(module, "derived_seed", noted)
    assert rng.derived_seed is noted
    return seen


@pytest.mark.parametrize(
    ("recipe", "own"),
    [
        (ONLINE, {"held-out labels"}),
        ("robust", {"voters"}),
        (RECIPES["robust"].replace(correction=CrossFitting(), objective=TaskLoss()), {"halves", "fresh weights"}),
        ("sop", {"noise variables"}),
        ("dividemix", {"division", "mixture of losses", "fresh weights"}),
    ],
    ids=["online", "robust", "cross-fitting", "sop", "dividemix"],
)
def test_no_two_streams_of_a_run_are_one(streams, monkeypatch, recipe, own):
    monkeypatch.setattr("noisycorrect.correction.neighbors.MOST_VOTERS", 30)  # so that voters are drawn
    augment = None if recipe == "dividemix" else lambda inputs: inputs + 0.01 * torch.randn_like(inputs)
    corrector = SelfCorrector(
        network(), num_classes=CLASSES, recipe=recipe, epochs=8, augment=augment, callbacks=[QUIET], seed=0
    )
    corrector.fit(blobs()[:2], blobs()[:2])
    assert len(set(streams.values())) == len(streams)
    purposes = {purpose for _, purpose, _ in streams}
    assert own | {"order of samples", "training", "start of an epoch", "rehearsal"} <= purposes
    orders = {value for (_, purpose, _), value in streams.items() if purpose == "order of samples"}
    assert len(orders) >= 8
    places = sorted((purpose, len(where)) for _, purpose, where in streams)
    assert all(one[1] == other[1] for one, other in pairwise(places) if one[0] == other[0])


def _purposes():
    """Return the purposes that the packages write down, with the files that do."""
    root = Path(__file__).parents[2]
    for path in (file for package in PACKAGES for file in sorted((root / package).rglob("*.py"))):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and len(node.targets) == 1
            and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") not in ("derived_seed", "seeded"):
                continue
            purpose = node.args[1]
            if isinstance(purpose, ast.Constant):
                yield purpose.value, path
            elif isinstance(purpose, ast.Name) and purpose.id in constants:
                yield constants[purpose.id], path


def test_a_purpose_stands_in_one_place():
    found = list(_purposes())
    purposes = [purpose for purpose, _ in found]
    twice = {purpose: [path.name for other, path in found if other == purpose] for purpose in purposes}
    assert not {purpose: paths for purpose, paths in twice.items() if len(paths) > 1}
    assert len(purposes) > 15
    assert len({zlib.crc32(purpose.encode()) for purpose in purposes}) == len(purposes)
