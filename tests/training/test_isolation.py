"""A run by itself: whatever surrounds fit, it gives the same result, or is refused in one sentence."""

import contextlib
import functools
import random
import threading

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, ONLINE, QUIET, SHORT, Kill, Records, assert_equal_runs, blobs, corrector, network
from torch import nn

from noisycorrect import RECIPES, CrossFitting, Schedule, SelfCorrector, TaskLoss
from noisycorrect.classification import CoTeaching
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.isolation import isolated

INPUTS, GIVEN, _ = blobs(48)
NETWORK = network()
QUICK = SHORT.replace(schedule=Schedule(2, 1, 1))


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


AROUND = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast that is off": lambda: torch.autocast("cpu", enabled=False),
    "float64": functools.partial(default_dtype, torch.float64),
    "bfloat16": functools.partial(default_dtype, torch.bfloat16),
}


def fit(recipe=QUICK, model=NETWORK, **settings):
    return corrector(model, recipe, **settings).fit((INPUTS, GIVEN), (INPUTS, GIVEN))


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def alone(request):
    return request.param, fit(precision=request.param)


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_whatever_surrounds_a_run_it_is_the_same(around, alone):
    precision, expected = alone
    with around():
        found = fit(precision=precision)
    assert_equal_runs(found, expected)
    for one, other in zip(found.history, expected.history, strict=True):
        for name in one.keys() - {"seconds"}:
            assert one[name] == other[name] or one[name] != one[name], name
    assert not any(parameter.is_inference() for parameter in found.model.parameters())


RECIPES_OF_ALL_SORTS = {
    **{name: RECIPES[name] for name in ("robust", "dividemix", "elr", "sop", "forward", "mixup", "ls", "gce")},
    "coteaching": RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.3)),
    "online": ONLINE,
    "cross-fitting": RECIPES["robust"].replace(correction=CrossFitting(), objective=TaskLoss()),
}


@pytest.mark.parametrize("recipe", RECIPES_OF_ALL_SORTS.values(), ids=RECIPES_OF_ALL_SORTS)
def test_what_recipes_make_does_not_depend_on_the_default_dtype(recipe):
    with default_dtype(torch.float64):
        found = fit(recipe, epochs=3)
    assert_equal_runs(found, fit(recipe, epochs=3))


def test_inputs_and_models_made_in_inference_mode_train():
    with torch.inference_mode():
        inputs, model = INPUTS.clone(), network()
        found = corrector(model, QUICK).fit((inputs, GIVEN), (inputs, GIVEN))
    assert_equal_runs(found, fit())


def test_a_default_device_is_refused():
    torch.set_default_device("meta")
    try:
        with pytest.raises(InvalidInputError, match="tensors on the CPU.*got a default device 'meta'"):
            fit()
    finally:
        torch.set_default_device(None)


def test_two_threads_at_once_give_what_one_after_the_other_gives():
    expected, found, began = fit(), {}, threading.Barrier(2, timeout=60)

    def work(number):
        began.wait()
        found[number] = fit()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found.values():
        assert_equal_runs(result, expected)
    assert len(found) == 2


def test_a_run_inside_a_run_does_not_wait_for_itself():
    with isolated(torch.device("cpu")), isolated(torch.device("cpu")):
        fit()


def states():
    numpy_state = np.random.get_state()  # noqa: NPY002 - the global state is what is under test
    return torch.get_rng_state().tolist(), [np.asarray(each).tolist() for each in numpy_state], random.getstate()


class Broken(nn.Linear):
    def forward(self, x):
        torch.rand(1), np.random.rand(1), random.random()  # noqa: NPY002
        raise ArithmeticError("a model that fails")


BROKEN = Broken(4, CLASSES)


class BrokenItems(Records):
    def __getitem__(self, index):
        torch.rand(1), np.random.rand(1), random.random()  # noqa: NPY002
        if index == 40:
            raise OSError("a file that is gone")
        return super().__getitem__(index)


class NaNItems(Records):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return (x * float("nan") if index == 40 else x), y


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (lambda: fit(model=BROKEN), InvalidInputError),
        (lambda: corrector().fit(BrokenItems(INPUTS, GIVEN)), OSError),
        (lambda: corrector(recipe="robust", epochs=2).fit(NaNItems(INPUTS, GIVEN)), InvalidInputError),
        (lambda: fit(callbacks=[Kill(2)]), KeyboardInterrupt),
        (lambda: fit(augment=lambda x: 1 / 0), InvalidInputError),
        (lambda: SelfCorrector(network(), num_classes=2, callbacks=[QUIET]).fit((INPUTS, GIVEN)), InvalidInputError),
    ],
    ids=["model", "items", "inputs", "interrupted", "augment", "labels"],
)
def test_random_states_come_back_after_an_error(run, error):
    torch.manual_seed(3)
    before = states()
    with pytest.raises(error) as raised:
        run()
    assert states() == before
    torch.manual_seed(4)
    other = states()
    del raised  # what the traceback holds comes to an end now, and must change nothing
    assert states() == other
