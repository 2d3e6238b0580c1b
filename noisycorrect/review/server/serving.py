"""Starting and stopping the review's server."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import webbrowser
from http.server import ThreadingHTTPServer
from pathlib import Path

from noisycorrect.review.server.handler import ReviewHandler
from noisycorrect.review.server.state import ReviewState
from noisycorrect.review.session.decisions import JOURNAL
from noisycorrect.review.session.items import read_header
from noisycorrect.support.errors import InvalidInputError, RunInUseError
from noisycorrect.support.locks import locked

LOOPBACK = "127.0.0.1"


class ReviewServer(ThreadingHTTPServer):
    """Serves one run's review to browsers on this machine.

    Parameters
    ----------
    state : ReviewState
        The run.
    port : int
        0 for any that is free.

    Attributes
    ----------
    address : str
        What to open in a browser; the token in it is new with every server.

    Raises
    ------
    InvalidInputError
        If the port is in use or none.

    Examples
    --------
    >>> import tempfile
    >>> from noisycorrect.review.session import Cleaning, write_items
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = write_items(folder, Cleaning(kind="text", classes=["cat", "dog"], source="pets.csv", label="label"), [])
    >>> with ReviewServer(ReviewState(folder)) as server:
    ...     server.address.startswith("http://127.0.0.1:")
    True
    """

    daemon_threads = True
    request_queue_size = 128  # by default 5: of twenty pictures asked for at once, a browser would lose some
    allow_reuse_address = os.name != "nt"  # on Windows a second server would share the port

    def __init__(self, state: ReviewState, port: int = 0) -> None:
        self.state = state
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((LOOPBACK, port), ReviewHandler)
        except (OSError, OverflowError) as error:
            got = f"port {port}, which is in use" if getattr(error, "errno", 0) == errno.EADDRINUSE else str(error)
            raise InvalidInputError("a free port", got=got, fix="leave --port out, and a free one is taken") from error
        number = self.server_address[1]
        self.hosts = {f"{LOOPBACK}:{number}", f"localhost:{number}"}
        self.address = f"http://{LOOPBACK}:{number}/{self.token}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where a browser has gone away; else print the error, as http.server does."""
        import sys

        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def serve_review(run_dir: str | os.PathLike[str], *, port: int = 0, browser: bool = True) -> int:
    """Serve a run's review until Ctrl-C, and return how many decisions are in force.

    Parameters
    ----------
    run_dir : path-like
        The folder of a cleaning run.
    port : int
        0 for any that is free.
    browser : bool
        Whether to open the page.

    Raises
    ------
    StoreError
        If the folder is no cleaning run's, or a file of it is damaged.
    InvalidInputError
        If the port is in use, or decisions cannot be written.
    RunInUseError
        If another process works on the run.
    """
    folder = Path(run_dir)
    read_header(folder)  # a folder that is no run's gets no lock
    with contextlib.ExitStack() as stack:
        _enter(folder, stack)
        state = ReviewState(folder)
        server = stack.enter_context(ReviewServer(state, port))
        progress = state.progress()
        print(f"{progress['issues']:,} labels to look at, {progress['issues_decided']:,} of them decided")
        print(f"Review at {server.address}\nCtrl-C ends it; every decision is saved at once.", flush=True)
        if browser:
            webbrowser.open(server.address)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return state.progress()["decided"]


def _enter(folder: Path, stack: contextlib.ExitStack) -> None:
    """Lock the folder, and see that decisions can be saved: who learns of it after an hour has lost an hour."""
    try:
        stack.enter_context(locked(folder))
        with (folder / JOURNAL).open("ab"):
            pass
    except RunInUseError as error:
        fix = "open the address that the other review printed (many tabs may share it), or end that process"
        raise RunInUseError(f"no other process in {folder}", got="one that holds its lock", fix=fix) from error
    except OSError as error:
        fix = "make it writable, or review a copy of it"
        raise InvalidInputError(
            f"a run folder where decisions can be saved: {folder}", got=str(error), fix=fix
        ) from error
