"""Registers what comes from outside, files and arguments, with the bad inputs of the soak."""

from benchmarks.soaks.bad_inputs import SORTS
from benchmarks.soaks.hostile import bad_input

for _room, _sort in SORTS.items():
    for _name, _attempt in _sort():
        bad_input(_room, _name, may_work=True)(_attempt)  # each checks for itself that a result is right
