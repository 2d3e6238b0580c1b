"""A run by itself: what the code around it has switched on or off, and what other threads do, does not reach it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import untouched

# Random generators belong to the process: of two runs at once each would draw from the other's.
_ONE_RUN = threading.RLock()


@contextlib.contextmanager
def isolated(device: torch.device) -> Iterator[None]:
    """Run a block as if nothing surrounded it; one block at a time in a process, others wait.

    Gradients are on and autocast and inference mode off, whatever is around the block, and the random generators are
    given back as they were, after an error, too.

    Parameters
    ----------
    device : torch.device
        Where the block computes.

    Raises
    ------
    InvalidInputError
        If torch makes tensors elsewhere than on the CPU by default: nobody could say where they end up.

    Examples
    --------
    >>> with torch.no_grad(), isolated(torch.device("cpu")):
    ...     torch.is_grad_enabled()
    True
    """
    elsewhere = torch.get_default_device()
    if elsewhere.type != "cpu":
        raise InvalidInputError(
            "torch to make tensors on the CPU unless told otherwise",
            got=f"a default device {str(elsewhere)!r}",
            fix=f"call torch.set_default_device('cpu'), and pass device={str(elsewhere)!r} to SelfCorrector",
        )
    with _ONE_RUN, untouched(device), torch.inference_mode(False), torch.enable_grad(), contextlib.ExitStack() as stack:
        if _inside_autocast():
            # Without its cache: weights that were cast stay in it until the outermost context ends, and go stale.
            for kind in sorted({"cpu", device.type}):
                stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        yield


def _inside_autocast() -> bool:
    depth: int = torch.autocast_increment_nesting()
    torch.autocast_decrement_nesting()
    return depth > 1
