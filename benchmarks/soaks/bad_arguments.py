"""Arguments of callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soaks.attempts import Attempt, refused


def _wrong() -> dict[str, Any]:
    import torch

    return {
        "None": None,
        "a text": "no such thing",
        "NaN": float("nan"),
        "a negative number": -1,
        "a number of 31 digits": 10**30,
        "an object": object(),
        "a class": int,
        "bytes": b"\0\xff",
        "an empty array": np.zeros((0, 4)),
        "complex numbers": torch.ones(3, 2, dtype=torch.complex64),
        "another shape": torch.zeros(5, 2, 7),
        "a dict": {"a": 1},
    }


def arguments() -> Iterator[tuple[str, Attempt]]:
    """Yield what is wrong with arguments."""
    import torch
    from torch import nn

    import noisycorrect as nc
    import noisycorrect_seg as ns

    # By numpy: a thread of torch's would be missing in the processes that the soak forks, which would wait for it.
    values = np.random.default_rng(0).standard_normal((24, 4)).astype(np.float32)
    inputs, labels = torch.from_numpy(values), torch.from_numpy(np.arange(24) % 3)
    probs = np.exp(values[:, :3]) / np.exp(values[:, :3]).sum(1, keepdims=True)

    def corrector(**options: Any) -> Any:
        quiet = [nc.Progress(enabled=False)]
        return nc.SelfCorrector(
            nn.Linear(4, 3), **{"num_classes": 3, "recipe": "paper", "epochs": 3, "callbacks": quiet, **options}
        )

    calls: dict[str, Callable[[Any], Any]] = {
        "model": lambda bad: nc.SelfCorrector(bad, num_classes=3),
        "num_classes": lambda bad: corrector(num_classes=bad),
        "callbacks": lambda bad: corrector(callbacks=bad),
        "class_names": lambda bad: corrector(class_names=["a", "b", bad, "d"]),
        "train": lambda bad: corrector().fit(bad),
        "inputs": lambda bad: corrector().fit((bad, labels)),
        "labels": lambda bad: corrector().fit((inputs, bad)),
        "given labels of find_label_issues": lambda bad: nc.find_label_issues(bad, probs),
        "probabilities of find_label_issues": lambda bad: nc.find_label_issues(labels.numpy(), bad),
        "labels of evidence_from_features": lambda bad: nc.evidence_from_features(inputs.numpy(), bad),
        "features of evidence_from_features": lambda bad: nc.evidence_from_features(bad, labels.numpy()),
        "votes": lambda bad: nc.dawid_skene(bad),
        "source": lambda bad: ns.ParsingDataset(bad, (32, 32)),
        "logits of lovasz_softmax": lambda bad: ns.lovasz_softmax(bad, torch.zeros(2, 8, 8).long()),
    }
    for name, call in calls.items():
        for what, bad in _wrong().items():
            if (name, what) == ("callbacks", "an empty array"):
                continue  # no callbacks

            def attempt(folder: Path, call: Callable[[Any], Any] = call, bad: Any = bad) -> None:
                del folder
                refused(lambda: call(bad))

            yield f"argument {name}: {what}", attempt
