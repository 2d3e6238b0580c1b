"""Networks as files that run without this package: torch.export's .pt2, and ONNX."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically
from noisycorrect.support.modules import evaluating, unwrap
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.hub.folder import plain_classes
from noisycorrect_seg.inference.averaging import final_logits
from noisycorrect_seg.inference.calling import shown_to
from noisycorrect_seg.inputs import Normalisation, plain_normalisation
from noisycorrect_seg.outputs import logits_of

# torch's ONNX exporter needs both.
ONNX_PACKAGES = ("onnx", "onnxscript")
ONNX_METADATA = "noisycorrect"
ONNX_TOLERANCE = 1e-4  # of the largest logit


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
        """Return final logits, (N, K, h, w), for network input (N, C, H, W)."""
        logits: Tensor = logits_of(self.model(crops))
        return logits


@door
def export_program(
    model: nn.Module,
    size: tuple[int, int],
    path: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    normalisation: str | Normalisation | None = None,
) -> torch.export.ExportedProgram:
    """Write a network as torch.export does (``.pt2``), at a fixed size.

    ``torch.export.load(path).module()(crops)`` takes normalised (batch_size, C, *size) and returns the final logits
    (batch_size, K, h, w); it can be passed to :func:`~noisycorrect_seg.parse_image` as a model, with the network's
    ``classes=`` and ``normalisation=``, for the file says neither. It needs torch alone.

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
    normalisation : {"bgr", "rgb"} or Normalisation, optional
        What the network was trained with: the file has as many channels. Default: what the model says in its attribute
        ``normalisation``, else ``"bgr"``.

    Returns
    -------
    torch.export.ExportedProgram

    Raises
    ------
    InvalidInputError
        If the size is out of range, the model does not take so many channels, its output is no map of logits, or the
        file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "network.pt2"
    >>> _ = export_program(nn.Conv2d(3, 2, 3), (8, 9), path)
    >>> torch.export.load(path).module()(torch.zeros(1, 3, 8, 9)).shape
    torch.Size([1, 2, 6, 7])
    """
    with _prepared(model, size, batch_size, shown_to(model, normalisation)) as (network, crops, _):
        # Not strict is the default of newer versions of torch; strictly, 2.6 cannot trace ACE2P.
        program = torch.export.export(network, (crops,), strict=False)
    content = io.BytesIO()
    with warnings.catch_warnings():
        # Of weights in channels_last, which come back as they are.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, content)
    _write(path, content.getvalue())
    return program


@door
def export_onnx(
    model: nn.Module,
    size: tuple[int, int],
    path: str | os.PathLike[str],
    *,
    batch_size: int | None = None,
    opset: int = 18,
    classes: str | Classes | Sequence[str] | None = None,
    normalisation: str | Normalisation | None = None,
) -> None:
    """Write a network as ONNX, at a fixed size: input ``crops``, output ``logits``; see :func:`export_program`.

    With sizes left open the exporter bakes the pooling of one size into the file and says nothing, so they are fixed.
    Where onnxruntime is installed it runs the file before that takes its name, and compares it with torch.
    :class:`~noisycorrect_seg.deploy.OnnxNetwork` parses photos with it.

    Parameters
    ----------
    model, size, path
        As for :func:`export_program`; weights lie inside the file.
    batch_size : int, optional
        Images in one call. Default: any number.
    opset : int
        ONNX operator set, at least 18.
    classes : str, Classes, or sequence of str, optional
        What the logits mean, for whoever parses with the file: it goes into its metadata. Default: what the model says
        in its attribute ``classes``, if it does.
    normalisation : {"bgr", "rgb"} or Normalisation, optional
        As for :func:`export_program`; it goes into the metadata, too, so that the file says what it is to be shown.

    Raises
    ------
    InvalidInputError
        If the packages ``onnx`` and ``onnxscript`` are missing, there are more or fewer classes than logits, the model
        cannot be exported for any number of images, the file says something else than the model (by more than 1e-4 of
        the largest logit), or as in :func:`export_program`.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InvalidInputError(
            f"the packages {' and '.join(ONNX_PACKAGES)}",
            got=f"no {' and no '.join(missing)}",
            fix=f"pip install {' '.join(missing)}; export_program needs neither",
        )
    opset = whole_number("opset", opset, least=18)
    if next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32) == torch.bfloat16:
        raise InvalidInputError("weights of float32 or float16", got="bfloat16", fix="export model.float()")
    # Of a single image the exporter would fix the number.
    shown = shown_to(model, normalisation)
    with _prepared(model, size, 2 if batch_size is None else batch_size, shown) as (network, crops, count):
        header = onnx_header(_named(model, classes, count), checked_size(size, least=1), shown)
        content = _exported_onnx(network, crops, opset, header, any_number=batch_size is None)
        if importlib.util.find_spec("onnxruntime") is not None:
            _check_onnx(network, content, crops, any_number=batch_size is None)
    _write(path, content)


def onnx_header(
    classes: Classes | None, size: tuple[int, int] | None, normalisation: Normalisation | None = None
) -> dict[str, str]:
    """Return what is to stand in an ONNX file's metadata, as :class:`~noisycorrect_seg.deploy.OnnxNetwork` reads it.

    Examples
    --------
    >>> onnx_header(Classes("pair", ("a", "b")), (8, 9))
    {'noisycorrect': '{"classes": ["pair", ["a", "b"], []], "size": [8, 9], "normalisation": null}'}
    """
    said = {
        "classes": plain_classes(classes),
        "size": None if size is None else list(size),
        "normalisation": plain_normalisation(normalisation),
    }
    return {ONNX_METADATA: json.dumps(said)}


def _named(model: nn.Module, classes: Any, count: int) -> Classes | None:
    own = getattr(unwrap(model), "classes", None)
    said = own if classes is None and isinstance(own, Classes) else classes
    if said is None:
        return None
    found = classes_named(said)
    if len(found) != count and (len(found), count) != (2, 1):  # one channel is the logit of class 1
        raise InvalidInputError(
            f"{count} classes, as the network has logits", got=f"{len(found)}", fix="pass the classes= of its training"
        )
    return found


def _exported_onnx(
    network: FinalLogits, crops: Tensor, opset: int, header: dict[str, str], *, any_number: bool
) -> bytes:
    import onnx

    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")  # the exporter's, about itself
        try:
            program: Any = torch.onnx.export(
                network,
                (crops,),
                dynamo=True,
                opset_version=opset,
                input_names=["crops"],
                output_names=["logits"],
                verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},) if any_number else None,
            )
        except Exception as error:  # of many classes, some of them the exporter's own
            raise _no_onnx(network, error.__cause__ or error, any_number) from error
    proto = program.model_proto
    onnx.helper.set_model_props(proto, header)
    content: bytes = proto.SerializeToString()
    return content


def _check_onnx(network: FinalLogits, content: bytes, crops: Tensor, *, any_number: bool) -> None:
    """Raise an InvalidInputError unless the file says what the network says, of several numbers of images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    noise = torch.randn(crops.shape, generator=torch.Generator().manual_seed(0)).to(crops)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for some in (noise[:1], torch.cat([noise, noise[:1]])) if any_number else (noise,):
            (found,) = session.run(["logits"], {"crops": some.cpu().numpy()})
            with torch.no_grad():
                expected = network(some).float().cpu().numpy()
            apart = float(np.abs(found - expected).max()) if found.shape == expected.shape else math.inf
            scale = max(1.0, float(np.abs(expected).max()))
            if not apart <= scale * (ONNX_TOLERANCE if some.dtype == torch.float32 else 0.02):
                raise InvalidInputError(
                    f"a file whose logits are the model's to {ONNX_TOLERANCE:g}",
                    got=f"{apart:.2g} apart, of {len(some)} images",
                    fix="try another opset=, or a fixed batch_size=; nothing was written",
                )
    except InvalidInputError:
        raise
    except Exception as error:  # onnxruntime's own, of many classes
        raise _no_onnx(network, error, any_number) from error


def _no_onnx(network: FinalLogits, error: BaseException, any_number: bool) -> InvalidInputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InvalidInputError(
        "a network that works as ONNX" + (" for any number of images" if any_number else ""),
        got=f"{type(network.model).__name__}: {reason}",
        fix="pass batch_size=1, or let no operation of the network depend on values"
        if any_number
        else "let no operation of the network depend on values, or use export_program",
    )


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Let these loggers of others speak of errors alone."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _prepared(
    model: nn.Module, size: tuple[int, int], batch_size: int, normalisation: Normalisation
) -> Iterator[tuple[FinalLogits, Tensor, int]]:
    """Yield a network in evaluation mode that returns one tensor, an input for it, and its K; check that it runs."""
    height, width = checked_size(size, least=1)
    count = whole_number("batch_size", batch_size, least=1)
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    channels = normalisation.channels
    crops = torch.zeros(count, channels, height, width, dtype=first.dtype, device=first.device)
    network = FinalLogits(model)
    with evaluating(network), torch.no_grad():
        try:
            logits = network(crops)
        except RuntimeError as error:  # torch's, of shapes that do not fit
            raise InvalidInputError(
                f"a network that takes {tuple(crops.shape)}: {count} images of {channels} channels",
                got=str(error).splitlines()[0],
                fix="pass the normalisation= that it was trained with, and its size",
            ) from error
        classes = logits.shape[1] if isinstance(logits, Tensor) and logits.dim() == 4 else 0
        final_logits(logits, count, classes)
        yield network, crops, classes


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    try:
        with replace_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise InvalidInputError(
            f"to write {Path(path)}", got=str(error), fix="free space, or choose another path"
        ) from error
