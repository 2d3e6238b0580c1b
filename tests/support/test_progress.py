"""Progress is shown on a terminal only."""

import io
import logging

import torch
from rich.console import Console
from torch import nn

from noisycorrect import SelfCorrector
from noisycorrect.support.progress import samples_progress


def run(capsys):
    inputs = torch.randn(32, 2)
    SelfCorrector(nn.Linear(2, 2), num_classes=2, epochs=3).fit((inputs, (inputs[:, 0] > 0).long()))
    return capsys.readouterr()


def test_silent_off_a_terminal(capsys):
    shown = run(capsys)
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


def test_each_cycle_is_logged(caplog, capsys):
    with caplog.at_level(logging.INFO, logger="noisycorrect"):
        run(capsys)
    assert [message.split(",")[0] for message in caplog.messages] == ["cycle 0", "cycle 1"]
