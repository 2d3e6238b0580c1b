"""A progress bar is shown on a terminal only."""

import io
import re

import torch
from rich.console import Console
from torch import nn

from noisycorrect import Progress, SelfCorrector
from noisycorrect.support.progress import samples_progress


def run(capsys, *callbacks):
    inputs = torch.randn(32, 2)
    SelfCorrector(nn.Linear(2, 2), num_classes=2, epochs=3, callbacks=callbacks).fit(
        (inputs, (inputs[:, 0] > 0).long())
    )
    return capsys.readouterr()


def test_no_bar_off_a_terminal(capsys):
    shown = run(capsys)
    assert shown.out == ""
    assert "\x1b" not in shown.err
    assert "samples/s" not in shown.err


def test_silence_is_asked_for(capsys):
    shown = run(capsys, Progress(enabled=False))
    assert shown.out == shown.err == ""


def test_a_terminal_sees_rate_and_remaining_time():
    output = io.StringIO()
    with samples_progress(console=Console(file=output, force_terminal=True, width=120)) as progress:
        task = progress.add_task("cycle 1/2", total=100)
        progress.advance(task, 50)
        progress.advance(task, 50)
    shown = output.getvalue()
    assert "cycle 1/2" in shown
    assert "samples/s" in shown
    assert "100/100" in shown
    quiet = io.StringIO()
    with samples_progress(enabled=False, console=Console(file=quiet, force_terminal=True)) as progress:
        progress.advance(progress.add_task("x", total=1))
    assert quiet.getvalue() == ""


def test_each_cycle_is_told(capsys):
    lines = run(capsys).err.splitlines()
    assert [line.split(",")[0] for line in lines if line.startswith("cycle")] == ["cycle 0/1 done", "cycle 1/1 done"]
    assert [line.split(",")[0] for line in lines if re.match("epoch", line)] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
