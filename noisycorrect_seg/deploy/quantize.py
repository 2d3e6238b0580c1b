"""A network as 8-bit whole numbers: ranges measured on photos, weights scaled a channel at a time."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, warn_caller
from noisycorrect.support.files import replace_atomically
from noisycorrect_seg.datasets.layout import seeming_masks
from noisycorrect_seg.datasets.rasters import ARRAY_SUFFIX
from noisycorrect_seg.datasets.source import ParsingSource
from noisycorrect_seg.deploy.runtime import OnnxNetwork, needed
from noisycorrect_seg.export import onnx_header
from noisycorrect_seg.inference.calling import PUBLISHED_SIZE, parts_for, shown_to
from noisycorrect_seg.inference.images import image_files
from noisycorrect_seg.inference.parse import canonical_crops
from noisycorrect_seg.inputs import BGR, RGB, Normalisation

COMPARED = 8  # photos on which both networks are compared


@dataclass(frozen=True)
class Quantized:
    """What became of a network.

    Attributes
    ----------
    path : Path
        The new file.
    photos : int
        On how many its ranges were measured.
    bytes_before, bytes_after : int
        Sizes of both files.
    equal_pixels : float
        Share of the frame's pixels to which both networks give the same class, on at most eight of the photos. These
        were calibrated on, so that it is a first look; measure on others what you rely on.
    """

    path: Path
    photos: int
    bytes_before: int
    bytes_after: int
    equal_pixels: float

    def __str__(self) -> str:
        return (
            f"{self.path.name}: {self.bytes_after / 1e6:.1f} MB, was {self.bytes_before / 1e6:.1f} MB; "
            f"{100 * self.equal_pixels:.2f} % of pixels equal, on photos that it was calibrated on"
        )


@door
def quantize_onnx(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    photos: Any,
    *,
    most: int = 64,
    reduce_range: bool = False,
    normalisation: str | Normalisation | None = None,
) -> Quantized:
    """Write an ONNX network as one of 8-bit whole numbers (INT8), a quarter of the size.

    Static quantisation by onnxruntime, in its QDQ form: weights as int8, scaled a channel at a time; activations as
    uint8, their ranges measured on photos; the last convolution stays as it is, for its logits decide between classes.

    Parameters
    ----------
    source : path-like
        What :func:`~noisycorrect_seg.export_onnx` wrote.
    path : path-like
        The new file; replaced atomically.
    photos : path-like, image, sequence of them, or ParsingSource
        Photos as the network will see, and folders of such: files, PIL images, or RGB arrays (H, W, 3), uint8; or what
        was trained on, a :class:`~noisycorrect_seg.Folder` or a data set of it. Some dozens that show what there is are
        enough; a range that no photo reaches is cut off.
    most : int
        As many of them are used, evenly spaced.
    reduce_range : bool
        Use 7 bits for weights: on processors with AVX2 or AVX-512 but without VNNI (Intel before 2019) sums of 8-bit
        products may overflow.
    normalisation : {"bgr", "rgb"} or Normalisation, optional
        How values become the network's input. Default: what the file says, else ``"bgr"``. Of one for other images than
        RGB of 8 bits, photos are what :func:`~noisycorrect_seg.parse_image` takes then.

    Returns
    -------
    Quantized

    Raises
    ------
    InvalidInputError
        If packages are missing, no photo can be read, or the file cannot be written or is that of the source.
    CheckpointError
        If the source is no network of images.
    """
    needed()
    if Path(source).resolve() == Path(path).resolve():
        fix = "give the new file a name of its own: the network as it was would be lost"
        raise InvalidInputError("another file than that of the network", got=str(path), fix=fix)
    network = OnnxNetwork(source)
    network.normalisation = shown_to(network, normalisation)
    crops = _calibration_crops(photos, network, whole_number("most", most, least=1))
    with tempfile.TemporaryDirectory() as scratch:
        quantized = Path(scratch) / "quantized.onnx"
        _quantize(network, Path(source), quantized, crops, reduce_range=reduce_range)
        equal = _equal_pixels(network, OnnxNetwork(quantized), crops[:: max(1, len(crops) // COMPARED)][:COMPARED])
        content = quantized.read_bytes()
    try:
        with replace_atomically(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        fix = "free space, or choose another path"
        raise InvalidInputError(f"to write {Path(path)}", got=str(error), fix=fix) from error
    return Quantized(Path(path), len(crops), Path(source).stat().st_size, len(content), equal)


def _calibration_crops(photos: Any, network: OnnxNetwork, most: int) -> np.ndarray:
    """Return photos in the network's frame, (n, *size, C); those that cannot be read are left out, and named."""
    size, shown = network.size or PUBLISHED_SIZE, shown_to(network)
    found = list(_photos(photos, () if shown in (BGR, RGB) else (ARRAY_SUFFIX,)))
    files = [name for name, _ in found if isinstance(name, Path)]
    said = seeming_masks(files, "move masks into a folder of their own, or pass the photos alone")
    if said is not None:
        warn_caller(said)
    chosen = np.unique(np.linspace(0, len(found) - 1, most).round().astype(int)).tolist() if found else []
    crops, failed = [], {}
    for name, read in map(found.__getitem__, chosen):
        try:
            crops.append(canonical_crops([read()], size, shown)[0])
        except NoisyCorrectError as error:
            failed[str(name)[:200]] = str(error)
    if not crops:
        raise InvalidInputError(
            "at least one photo to calibrate with: ranges are measured on photos",
            got=next(iter(failed.values()), "none"),
            fix="pass some dozens of photos as the network will see, or a folder of them",
        )
    if failed:
        name, reason = next(iter(failed.items()))
        warn_caller(f"{len(failed)} photos were left out of the calibration, the first: {name}: {reason}")
    return np.concatenate(crops)


def _photos(photos: Any, more: Sequence[str]) -> Iterator[tuple[Any, Callable[[], Any]]]:
    """Yield each photo or its name, and what returns it; `more`: further suffixes of files."""
    source = photos if isinstance(photos, ParsingSource) else getattr(photos, "source", None)
    if isinstance(source, ParsingSource):
        for index in range(len(source)):
            yield source.name(index), partial(source.image, index)
        return
    several = isinstance(photos, Sequence) and not isinstance(photos, str)
    for photo in photos if several else [photos]:
        if isinstance(photo, (str, os.PathLike)):
            if Path(photo).is_dir() and not any(Path(photo).iterdir()):
                continue
            for file in image_files([photo], more)[0]:
                yield file, partial(Path, file)
        else:
            yield photo, partial(_as_it_is, photo)


def _as_it_is(photo: Any) -> Any:
    return photo


class _Reader:
    """Calibration data in the form that onnxruntime asks for."""

    def __init__(self, name: str, batches: Iterable[torch.Tensor]) -> None:
        self._name, self._batches = name, iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch.numpy()}


def _quantize(network: OnnxNetwork, source: Path, target: Path, crops: np.ndarray, *, reduce_range: bool) -> None:
    try:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        fix = "pip install 'noisycorrect[onnx]'"
        raise InvalidInputError("the packages onnx and onnxruntime", got=str(error), fix=fix) from error
    folded = target.with_name("folded.onnx")
    level = logging.getLogger().level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's node names
        try:
            logging.getLogger().setLevel(logging.ERROR)  # it logs to the root
            quant_pre_process(source, folded, skip_symbolic_shape=True)
            batches = (part for crop in crops for part in _inputs(network, crop))
            quantization.quantize_static(
                folded,
                target,
                _Reader(network.input_name, batches),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=reduce_range,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_exclude=_left_as_they_are(onnx.load(folded)),
            )
        finally:
            logging.getLogger().setLevel(level)
    model = onnx.load(target)
    onnx.helper.set_model_props(model, onnx_header(network.classes, network.size, shown_to(network)))
    onnx.save(model, target)


def _left_as_they_are(model: Any) -> list[str]:
    """Return the names of the convolutions behind which there is no other, and of normalisation that was not folded."""
    maker = {output: node for node in model.graph.node for output in node.output}
    found = [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    todo, seen = [output.name for output in model.graph.output], set()
    while todo:
        node = maker.get(todo.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type == "Conv":
            found.append(node.name)
        else:
            todo += node.input
    return found


def _inputs(network: OnnxNetwork, crop: np.ndarray) -> list[torch.Tensor]:
    """Return one crop as the network takes it."""
    return parts_for(network, shown_to(network)(torch.from_numpy(crop[None])))


def _classes(network: OnnxNetwork, part: torch.Tensor) -> torch.Tensor:
    """Return the most probable classes of a part's first image, (h, w); of one channel a Sigmoid's two."""
    logits: torch.Tensor = network(part)[0]
    return logits.argmax(0) if len(logits) > 1 else logits[0] > 0


@torch.no_grad()
def _equal_pixels(one: OnnxNetwork, other: OnnxNetwork, crops: np.ndarray) -> float:
    equal = []
    for crop in crops:
        first, second = (_classes(network, _inputs(one, crop)[0]) for network in (one, other))
        equal.append((first == second).float().mean().item())
    return float(np.mean(equal))
