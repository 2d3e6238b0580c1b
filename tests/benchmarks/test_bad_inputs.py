"""Bad inputs end in one clear error, or in a right result; the soak benchmark tries all of them."""

import contextlib

import pytest

from benchmarks.soaks.bad_inputs import bad_inputs
from noisycorrect import NoisyCorrectError

ALL = dict(bad_inputs())
TRIED = list(ALL)[::4]  # of each sort some


def test_there_are_hundreds_of_them():
    assert len(ALL) >= 300


@pytest.mark.parametrize("name", TRIED)
@pytest.mark.filterwarnings("ignore")
def test_a_bad_input_ends_clearly(name, tmp_path):
    with contextlib.suppress(NoisyCorrectError):
        ALL[name](tmp_path)
