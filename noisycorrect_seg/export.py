"""Networks as files that run without this package: torch.export's .pt2, and ONNX."""

from __future__ import annotations

import importlib.util
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically
from noisycorrect.support.modules import evaluating
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.inference.averaging import final_logits
from noisycorrect_seg.outputs import logits_of

# torch's ONNX exporter needs both.
ONNX_PACKAGES = ("onnx", "onnxscript")


class FinalLogits(nn.Module):
    """A network's final logits alone: a plain tensor in, a plain tensor out.

    Parameters
    ----------
    model : nn.Module
        Returns a :class:`~noisycorrect_seg.outputs.ParsingOutput` or logits.

    Examples
    --------
    >>> FinalLogits(nn.Conv2d(3, 2, 1))(torch.zeros(1, 3, 4, 4)).shape
    torch.Size([1, 2, 4, 4])
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, crops: Tensor) -> Tensor:
        """Return final logits, (N, K, h, w), for network input (N, 3, H, W)."""
        logits: Tensor = logits_of(self.model(crops))
        return logits


@door
def export_program(
    model: nn.Module, size: tuple[int, int], path: str | os.PathLike[str], *, batch_size: int = 1
) -> torch.export.ExportedProgram:
    """Write a network as torch.export does (``.pt2``), at a fixed size.

    ``torch.export.load(path).module()(crops)`` takes normalised BGR (batch_size, 3, *size) and returns the final logits
    (batch_size, K, h, w); it can be passed to :func:`~noisycorrect_seg.inference.parse_images` as a model. It needs
    torch alone.

    Parameters
    ----------
    model : nn.Module
        Returns a :class:`~noisycorrect_seg.outputs.ParsingOutput` or logits. Exported in evaluation mode, where it is;
        its modes come back.
    size : (int, int)
        Height and width. Fixed, because pyramid pooling's bins depend on it.
    path : path-like
        The file, conventionally ``.pt2``; its folder must exist. Replaced atomically.
    batch_size : int
        Images in one call, fixed likewise.

    Returns
    -------
    torch.export.ExportedProgram

    Raises
    ------
    InvalidInputError
        If the size is out of range, the model's output is no map of logits, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "network.pt2"
    >>> _ = export_program(nn.Conv2d(3, 2, 3), (8, 9), path)
    >>> torch.export.load(path).module()(torch.zeros(1, 3, 8, 9)).shape
    torch.Size([1, 2, 6, 7])
    """
    with _prepared(model, size, batch_size) as (network, crops):
        # Not strict is the default of newer versions of torch; strictly, 2.6 cannot trace ACE2P.
        program = torch.export.export(network, (crops,), strict=False)
    content = io.BytesIO()
    torch.export.save(program, content)
    _write(path, content.getvalue())
    return program


@door
def export_onnx(
    model: nn.Module, size: tuple[int, int], path: str | os.PathLike[str], *, batch_size: int = 1, opset: int = 18
) -> None:
    """Write a network as ONNX, at a fixed size: input ``crops``, output ``logits``; see :func:`export_program`.

    With sizes left open the exporter bakes the pooling of one size into the file and says nothing, so they are fixed.

    Parameters
    ----------
    model, size, path, batch_size
        As for :func:`export_program`; weights lie inside the file.
    opset : int
        ONNX operator set, at least 18.

    Raises
    ------
    InvalidInputError
        If the packages ``onnx`` and ``onnxscript`` are missing, or as in :func:`export_program`.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInputError(
            f"the packages {' and '.join(ONNX_PACKAGES)}",
            got=f"no {' and no '.join(missing)}",
            fix=f"pip install {' '.join(missing)}; export_program needs neither",
        )
    opset = whole_number("opset", opset, least=18)
    with _prepared(model, size, batch_size) as (network, crops), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        program: Any = torch.onnx.export(
            network,
            (crops,),
            dynamo=True,
            opset_version=opset,
            input_names=["crops"],
            output_names=["logits"],
            verbose=False,
        )
    _write(path, program.model_proto.SerializeToString())


@contextmanager
def _prepared(model: nn.Module, size: tuple[int, int], batch_size: int) -> Iterator[tuple[FinalLogits, Tensor]]:
    """Yield a network in evaluation mode that returns one tensor, and an input for it; check that it runs."""
    height, width = checked_size(size, least=1)
    count = whole_number("batch_size", batch_size, least=1)
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    crops = torch.zeros(count, 3, height, width, dtype=first.dtype, device=first.device)
    network = FinalLogits(model)
    with evaluating(network), torch.no_grad():
        logits = network(crops)
        final_logits(logits, count, logits.shape[1] if isinstance(logits, Tensor) and logits.dim() == 4 else 0)
        yield network, crops


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    try:
        with replace_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise InvalidInputError(
            f"to write {Path(path)}", got=str(error), fix="free space, or choose another path"
        ) from error
