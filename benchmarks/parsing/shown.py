"""Networks whose results are looked at: they learn from right masks, as long as it takes, and can be kept."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.lab.experiment import FINISHED, usage
from benchmarks.lab.extras import require
from noisycorrect.support.checkpoint import load_checkpoint, load_model_state, save_checkpoint
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect_seg.datasets import ParsingDataset

BATCH, LR = 8, 3e-3
N = TypeVar("N", bound=nn.Module)


def learnt(make: Callable[[], nn.Module], data: ParsingDataset, epochs: int, seed: int) -> nn.Module:
    """Return a network that has learnt masks as they are: cross-entropy, AdamW, one cycle of the learning rate."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = make()
        optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=1e-4)
        loader = DataLoader(data, BATCH, shuffle=True, drop_last=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * len(loader))
        for _ in range(epochs):
            for batch in loader:
                logits = network(batch["image"])
                given = F.interpolate(batch["given"][:, None].float(), logits.shape[-2:], mode="nearest")[:, 0]
                loss = F.cross_entropy(logits, given.long(), ignore_index=255)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return network.eval()


def kept(path: Path | None, settings: Mapping[str, Any], make: Callable[[], N], learn: Callable[[], N]) -> N:
    """Return the network that a file keeps, or one that learns now, and keep it there.

    Parameters
    ----------
    path : Path or None
        The file; None keeps nothing.
    settings : mapping
        Plain values of what the network learnt from and how.
    make, learn : callable
        Return the network as it is built, and as it has learnt.

    Raises
    ------
    InvalidInputError
        If the file keeps a network that learnt otherwise.
    """
    if path is None or not path.exists():
        network = learn()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_checkpoint(path, {"settings": dict(settings), "state": network.state_dict()})
        return network
    content = load_checkpoint(path)
    if content.get("settings") != settings:
        raise InvalidInputError(
            f"a network in {path} that learnt as asked for, {dict(settings)}",
            got=str(content.get("settings")),
            fix="keep it in another folder, or remove the file",
        )
    network = make()
    load_model_state(network, content["state"])
    return network.eval()


# ---------------------------------------------------------------- command line


def add_picture_options(parser: argparse.ArgumentParser, name: str, kind: str, what: str) -> None:
    """Add the option that asks for a picture instead of the study, and where its networks are kept."""
    about = f"write {what} there as a {kind}, a page with figures beside it, and nothing else"
    parser.add_argument(f"--{name}", type=Path, metavar=kind, help=f"{about}; its seed is --first-seed")
    parser.add_argument("--keep", type=Path, metavar="DIR", help=f"where the networks of the {name} are kept, or found")


def with_usual(
    arguments: argparse.Namespace, studied: Mapping[str, int], shown: Mapping[str, int], name: str
) -> argparse.Namespace:
    """Return options in which the usual numbers of the study, or of the picture, stand where none was passed."""
    for option, value in (studied if getattr(arguments, name) is None else shown).items():
        if getattr(arguments, option) is None:
            setattr(arguments, option, value)
    return arguments


def picture_written(write: Callable[[], str]) -> int:
    """Write a picture and print its page; return the exit status."""
    try:
        require("PIL")
        print(write())
    except NoisyCorrectError as error:
        return usage(error)
    return FINISHED
