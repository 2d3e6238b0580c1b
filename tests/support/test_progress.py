"""The bar that counts samples; what a run shows is in tests/contracts/test_callbacks.py."""

import io

from rich.console import Console

from noisycorrect.support.progress import samples_progress


def bar(**options):
    output = io.StringIO()
    console = Console(file=output, width=options.pop("width", 120), force_terminal=options.pop("terminal"))
    with samples_progress(console=console, **options) as progress:
        task = progress.add_task("cycle 1/2", total=100)
        progress.advance(task, 50)
        progress.advance(task, 50)
    return output.getvalue()


def test_a_terminal_sees_rate_and_remaining_time():
    shown = bar(terminal=True)
    assert "cycle 1/2" in shown
    assert "samples/s" in shown
    assert "100/100" in shown


def test_silent_off_a_terminal_and_if_it_is_told():
    assert bar(terminal=False) == ""
    assert bar(terminal=True, enabled=False) == ""


def test_a_narrow_terminal_takes_the_bar_and_no_second_row():
    lines = bar(terminal=True, width=50).replace("\r", "\n").splitlines()
    last = [line for line in lines if "100/100" in line]
    assert last
    assert all("cycle 1/2" in line and "samples/s" in line for line in last)
