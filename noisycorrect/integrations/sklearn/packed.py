"""Results that can be pickled: with their labels, and on the CPU."""

from __future__ import annotations

import copy
import dataclasses
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from noisycorrect.classification.votes import VotesResult
from noisycorrect.labels import SoftLabelStore
from noisycorrect.result import CorrectionResult


@dataclass(frozen=True)
class PackedResult:
    """A result whose label store, a folder that may be gone when it is read again, has become bytes.

    Attributes
    ----------
    result : CorrectionResult or VotesResult
        With a model on the CPU, and without labels.
    files : dict of str to bytes
        The label store's.
    """

    result: CorrectionResult | VotesResult
    files: dict[str, bytes]

    @classmethod
    def of(cls, result: CorrectionResult | VotesResult) -> PackedResult:
        """Pack a result; it is not changed."""
        run = result.correction if isinstance(result, VotesResult) else result
        with tempfile.TemporaryDirectory(prefix="noisycorrect-") as folder:
            store = run.labels.export(Path(folder) / "labels")
            files = {path.name: path.read_bytes() for path in store.folder.iterdir() if path.is_file()}
        bare = dataclasses.replace(run, labels=None, model=_on_cpu(run.model))  # type: ignore[arg-type]
        return cls(dataclasses.replace(result, correction=bare) if isinstance(result, VotesResult) else bare, files)

    def unpacked(self) -> CorrectionResult | VotesResult:
        """Return the result, with its labels in a temporary folder that goes with them."""
        folder = Path(tempfile.mkdtemp(prefix="noisycorrect-"))
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        store = SoftLabelStore.open(folder)
        weakref.finalize(store, _remove, folder, os.getpid())
        run = self.result.correction if isinstance(self.result, VotesResult) else self.result
        whole = dataclasses.replace(run, labels=store)
        return dataclasses.replace(self.result, correction=whole) if isinstance(self.result, VotesResult) else whole


def _on_cpu(model: nn.Module) -> nn.Module:
    on_cpu = all(tensor.device.type == "cpu" for tensor in [*model.parameters(), *model.buffers()])
    return model if on_cpu else copy.deepcopy(model).cpu()


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
