"""A network in an ONNX file, run by onnxruntime where a module of torch is expected."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.checksums import file_digest
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.files import check_ordinary
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.export import ONNX_METADATA
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.hub.folder import classes_of, size_of
from noisycorrect_seg.inference.calling import FixedInput
from noisycorrect_seg.inputs import Normalisation, normalisation_of

PROVIDERS = ("CPUExecutionProvider",)
_DTYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}


class OnnxNetwork(nn.Module):
    """A network in an ONNX file, for :func:`~noisycorrect_seg.parse_image` and all that parses photos.

    Parameters
    ----------
    path : path-like
        What :func:`~noisycorrect_seg.export_onnx` or :func:`~noisycorrect_seg.deploy.quantize_onnx` wrote; or another
        program's file that takes normalised images (N, C, H, W) as its only input, blue first unless
        ``normalisation=`` is passed where they are parsed. Of several outputs the one that is called ``logits``
        counts, else ``fusion``, else the first.
    threads : int, optional
        Threads of one call. Default: as many as torch uses now, ``torch.get_num_threads()``.
    providers : sequence of str
        onnxruntime's, best first; ``"CUDAExecutionProvider"`` needs the package onnxruntime-gpu.

    Attributes
    ----------
    classes : Classes or None
        What the file says of its logits.
    size : (int, int) or None
        Height and width that it takes, or was written for.
    normalisation : Normalisation or None
        What the file says of how values become its input.
    channels : int or None
        C, if the file says it.
    num_classes : int or None
        K, if the file says it.
    digest : str
        Of the file.
    fixed_input : FixedInput
        Numbers and sizes of images that it takes.

    Raises
    ------
    InvalidInputError
        If the package onnxruntime is missing, or a provider is not in it.
    CheckpointError
        If the file is missing, damaged, or no network of images.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, threads: int | None = None, providers: Sequence[str] = PROVIDERS
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.threads = torch.get_num_threads() if threads is None else whole_number("threads", threads, least=1)
        self.providers = tuple(providers)
        self._session = _session(self.path, self.threads, self.providers)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _DTYPES:
            raise CheckpointError(
                f"a network of images (N, C, H, W) at {self.path}",
                got=", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs) or "no input",
                fix="export it with export_onnx",
            )
        self.input_name, self._dtype = inputs[0].name, _DTYPES[inputs[0].type]
        names = [output.name for output in outputs]
        self._output = next((name for name in ("logits", "fusion") if name in names), names[0])
        shape = outputs[names.index(self._output)].shape
        batch, channels, height, width = (side if isinstance(side, int) else None for side in inputs[0].shape)
        self.fixed_input = FixedInput(batch, height, width)
        # Of two classes one channel will do.
        self.num_classes = max(shape[1], 2) if len(shape) == 4 and isinstance(shape[1], int) else None
        said = _said(self._session.get_modelmeta().custom_metadata_map, self.path)
        self.classes, self.normalisation = said.classes, said.normalisation
        self.size: Size | None = said.size if height is None or width is None else (height, width)
        self.channels = channels
        if self.normalisation is not None and channels not in (None, self.normalisation.channels):
            got, fix = f"one of {self.normalisation.channels}", "export it again"
            raise CheckpointError(f"a normalisation of {channels} channels in {self.path}", got=got, fix=fix)

    def forward(self, crops: Tensor) -> Tensor:
        """Return logits, (N, K, h, w), for normalised images (N, C, H, W), on the images' device."""
        if torch.is_autocast_enabled(crops.device.type):
            raise InvalidInputError(
                'precision="float32": the file has its own', got="another", fix="leave precision= out, or quantise"
            )
        array = crops.detach().to("cpu", self._dtype).contiguous().numpy()
        try:
            (found,) = self._session.run([self._output], {self.input_name: array})
        except Exception as error:  # onnxruntime's own, of many classes
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InvalidInputError(
                f"images that {self.path.name} takes", got=f"{tuple(crops.shape)}: {reason}", fix="pass its size="
            ) from error
        return torch.from_numpy(found).to(crops.device)

    def extra_repr(self) -> str:
        """Return what distinguishes this network."""
        return f"{self.path.name}, classes={None if self.classes is None else self.classes.name}, size={self.size}"

    @functools.cached_property
    def digest(self) -> str:
        """What tells this file's network from others, 16 hexadecimal digits."""
        return file_digest(self.path)[:16]

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how a copy is made, in this process or another: a session cannot be."""
        return _again, (self.path, self.threads, self.providers)


def _again(path: Path, threads: int, providers: Sequence[str]) -> OnnxNetwork:
    return OnnxNetwork(path, threads=threads, providers=providers)


def needed() -> Any:
    """Return the package onnxruntime, or raise an InvalidInputError that says how it is installed."""
    try:
        import onnxruntime
    except ImportError as error:
        fix = "pip install 'noisycorrect[onnx]'"
        raise InvalidInputError("the package onnxruntime, to run ONNX files", got="none", fix=fix) from error
    return onnxruntime


def _session(path: Path, threads: int, providers: Sequence[str]) -> Any:
    onnxruntime = needed()
    known = onnxruntime.get_available_providers()
    unknown = [name for name in providers if name not in known]
    if unknown or not providers:
        raise InvalidInputError(
            f"providers of onnxruntime: {', '.join(known)}",
            got=", ".join(unknown) or "none",
            fix="pip install onnxruntime-gpu for CUDA, or leave providers= out",
        )
    try:
        check_ordinary(path)
    except FileNotFoundError:
        raise CheckpointError(f"an ONNX file at {path}", got="no such file", fix="check the path") from None
    except OSError as error:
        raise CheckpointError(f"an ONNX file at {path}", got=str(error), fix="check the path") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime's own, of many classes
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"a whole ONNX file at {path}", got=reason, fix="export it again") from error


class _Said(NamedTuple):
    classes: Classes | None = None
    size: Size | None = None
    normalisation: Normalisation | None = None


def _said(metadata: dict[str, str], path: Path) -> _Said:
    """Return what a file's metadata says; None for what it does not."""
    if ONNX_METADATA not in metadata:
        return _Said()
    try:
        header = json.loads(metadata[ONNX_METADATA])
        shown = normalisation_of(header.get("normalisation"))
        return _Said(classes_of(header.get("classes")), size_of(header.get("size")), shown)
    except (InvalidInputError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        got, fix = str(error), "export it again"
        raise CheckpointError(f"classes, size and normalisation in {path}", got=got, fix=fix) from error
