"""Benchmark data sets with clean labels and, where people have annotated them, the labels they gave."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.lab import features
from benchmarks.lab.array_cache import cache_folder, cached_array
from benchmarks.lab.extras import require
from noisycorrect.classification.noise.human_files import read_published
from noisycorrect.support.errors import InvalidInputError, unknown_name

Labels = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]
StrPath = str | os.PathLike[str]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR_LAYOUTS = "train_jpeg.npz and test_jpeg.npz, or a folder cifar-10-batches-py"
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A classification data set, split and ready to train on.

    Attributes
    ----------
    name : str
        The name it was loaded by.
    num_classes : int
        Number of classes C.
    train_inputs, test_inputs : Tensor, float32, shape (N, ...)
        (N, 64) for digits, (N, 3, 32, 32) for CIFAR-10, (N, 372) for its HOG features.
    train_labels, test_labels : ndarray of int64, shape (N,)
        The clean labels; those of training are for noise models and for scoring.
    class_names : tuple of str
        One name a class.
    human_labels : mapping of str to ndarray of int64, shape (N,)
        Labels that people gave to the training samples; empty where nobody did.
    train_index : ndarray of int64, shape (N,)
        Place of each training sample in the whole training set; increasing.
    mean, std : Tensor, float32
        Statistics of the training inputs, shaped to broadcast against them.
    standardised : bool
        Whether the inputs have these statistics removed.
    """

    name: str
    num_classes: int
    train_inputs: Tensor
    train_labels: Labels
    test_inputs: Tensor
    test_labels: Labels
    class_names: tuple[str, ...]
    human_labels: Mapping[str, Labels]
    train_index: Labels
    mean: Tensor
    std: Tensor
    standardised: bool = True


class _Raw(NamedTuple):
    """Everything a source holds, before subset and standardisation; inputs are scaled into [0, 1] by `scale`."""

    train: npt.NDArray[Any]
    train_labels: Labels
    test: npt.NDArray[Any]
    test_labels: Labels
    class_names: tuple[str, ...]
    human_labels: dict[str, Labels]
    scale: float
    per_feature: bool = False  # whether each feature has statistics of its own


def load(
    name: str,
    data_dir: StrPath | None = None,
    *,
    subset: int | None = None,
    seed: int = 0,
    standardise: bool = True,
    cache_dir: StrPath | None = None,
) -> Benchmark:
    """Load a benchmark data set.

    Parameters
    ----------
    name : str
        "digits" (ships with scikit-learn; a fixed stratified split, 75 % of it for training), "cifar10" or
        "cifar10-hog", its features of :func:`benchmarks.lab.features.hog_features`.
    data_dir : path-like, optional
        Folder of CIFAR-10: either `train_jpeg.npz`, `test_jpeg.npz` and `labels_*.npy`, or the public Python version
        `cifar-10-batches-py`, beside which or in which `CIFAR-10_human.pt` of CIFAR-10N may lie. Digits need none.
    subset : int, optional
        Keep this many training samples, drawn at random in the proportions of the classes. With one seed a smaller
        subset lies inside a larger one up to the rounding of the proportions.
    seed : int, default 0
        Seed of the subset; splits do not depend on it.
    standardise : bool, default True
        Remove the mean and deviation of the (kept) training inputs from all inputs; per channel, or HOG feature.
    cache_dir : path-like, optional
        Where decoded images and features are kept; default: see :func:`benchmarks.lab.array_cache.cache_folder`.

    Raises
    ------
    InvalidInputError
        If the name is unknown, the subset impossible, or a file missing, damaged or of another size than the rest.

    Examples
    --------
    >>> digits = load("digits", subset=200)
    >>> digits.train_inputs.shape, digits.num_classes, len(digits.test_labels)
    (torch.Size([200, 64]), 10, 450)
    """
    if name not in SOURCES:
        raise unknown_name("data set", name, SOURCES)
    raw = SOURCES[name](data_dir, cache_folder(cache_dir))
    index = stratified_subset(raw.train_labels, subset, seed=seed)
    train, test = _inputs(raw.train[index], raw.scale), _inputs(np.array(raw.test), raw.scale)
    mean, std = _statistics(train, per_feature=raw.per_feature)
    if standardise:
        for inputs in (train, test):
            inputs.sub_(mean).div_(std)
    return Benchmark(
        name=name,
        num_classes=len(raw.class_names),
        train_inputs=train,
        train_labels=raw.train_labels[index],
        test_inputs=test,
        test_labels=raw.test_labels,
        class_names=raw.class_names,
        human_labels={kind: labels[index] for kind, labels in raw.human_labels.items()},
        train_index=index,
        mean=mean,
        std=std,
        standardised=standardise,
    )


def stratified_subset(labels: Labels, size: int | None, *, seed: int) -> Labels:
    """Return increasing indices of `size` samples, drawn in the proportions of the classes.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        The labels to keep the proportions of.
    size : int or None
        How many to keep; None keeps all.
    seed : int
        Seed of the draw.

    Raises
    ------
    InvalidInputError
        If `size` is not between the number of classes and N.
    """
    if size is None:
        return np.arange(len(labels), dtype=np.int64)
    classes, counts = np.unique(labels, return_counts=True)
    if isinstance(size, bool) or not isinstance(size, int) or not len(classes) <= size <= len(labels):
        raise InvalidInputError(f"a subset of {len(classes)}..{len(labels)} training samples", got=repr(size))
    share = size * counts / len(labels)
    quota = np.floor(share).astype(np.int64)
    # Largest remainders get the samples that rounding down left over; a stable sort makes ties reproducible.
    quota[np.argsort(quota - share, kind="stable")[: size - int(quota.sum())]] += 1
    generator = np.random.default_rng(seed)
    drawn = [generator.permutation(np.flatnonzero(labels == c))[:n] for c, n in zip(classes, quota, strict=True)]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def _inputs(values: npt.NDArray[Any], scale: float) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(torch.float32).mul_(scale)


def _statistics(train: Tensor, *, per_feature: bool) -> tuple[Tensor, Tensor]:
    # Digits are images of one channel laid flat: a scale per pixel would blow up the rim, which is almost never inked.
    keep = 1 if train.ndim == 4 or per_feature else None
    dims = [d for d in range(train.ndim) if d != keep]
    std, mean = torch.std_mean(train, dim=dims, correction=0, keepdim=True)
    return mean, torch.where(std > 0, std, torch.ones_like(std))


def _digits(data_dir: StrPath | None, cache: Path) -> _Raw:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data, target = load_digits(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(
        data, target.astype(np.int64), test_size=0.25, stratify=target, random_state=0
    )
    return _Raw(train, train_labels, test, test_labels, tuple("0123456789"), {}, 1 / 16)


def _cifar10(data_dir: StrPath | None, cache: Path) -> _Raw:
    if data_dir is None:
        raise InvalidInputError("the folder of CIFAR-10", got="none", fix=f"pass --data-dir: {_CIFAR_LAYOUTS}")
    folder = Path(data_dir)
    if not folder.is_dir():
        raise InvalidInputError("the folder of CIFAR-10", got=f"{folder}, which is no folder")
    batches = folder / "cifar-10-batches-py"
    if (folder / "train_jpeg.npz").exists():
        raw = _cifar10_jpeg(folder, cache)
    elif batches.is_dir() or (folder / "data_batch_1").exists():
        raw = _cifar10_batches(batches if batches.is_dir() else folder, folder)
    else:
        raise InvalidInputError(_CIFAR_LAYOUTS, got=f"none of them in {folder}")
    for kind, labels in raw.human_labels.items():
        _same_length(f"human labels {kind!r}", labels, len(raw.train), folder)
    return raw


def _cifar10_hog(data_dir: StrPath | None, cache: Path) -> _Raw:
    raw = _cifar10(data_dir, cache)
    train, test = (_features(images, cache) for images in (raw.train, raw.test))
    return raw._replace(train=train, test=test, scale=1.0, per_feature=True)


def _features(images: Images, cache: Path) -> npt.NDArray[np.float32]:
    # The features' source is a part of the name: after a change of it they are computed again.
    source = Path(features.__file__).read_bytes()
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes() + source).hexdigest()[:16]
    shape = len(images), features.hog_features(torch.zeros(1, *images.shape[1:])).shape[1]

    def compute() -> npt.NDArray[np.float32]:
        parts = np.array_split(images, -(-len(images) // 500))
        return torch.cat([features.hog_features(_inputs(np.array(part), 1 / 255)) for part in parts]).numpy()

    return cached_array(cache / f"hog-{digest}.npy", np.float32, shape, compute)


def _cifar10_jpeg(folder: Path, cache: Path) -> _Raw:
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        labels = _read_labels(folder / f"labels_clean_{split}.npy")
        data, offsets = _read_jpegs(folder / f"{split}_jpeg.npz")
        _same_length(f"{split} labels", labels, len(offsets) - 1, folder)
        arrays[split] = _decoded(folder / f"{split}_jpeg.npz", data, offsets, cache)
        arrays[f"{split}_labels"] = labels
    prefix = "labels_human_"
    human = {path.stem.removeprefix(prefix): _read_labels(path) for path in sorted(folder.glob(f"{prefix}*.npy"))}
    return _Raw(**arrays, class_names=CIFAR10_CLASSES, human_labels=human, scale=1 / 255)


def _cifar10_batches(batches: Path, folder: Path) -> _Raw:
    parts = [_read_batch(batches / f"data_batch_{number}") for number in range(1, 6)]
    train, train_labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    test, test_labels = _read_batch(batches / "test_batch")
    published = [place / "CIFAR-10_human.pt" for place in (folder, batches)]
    human = next((_read_cifar10n(path, train_labels) for path in published if path.exists()), {})
    return _Raw(train, train_labels, test, test_labels, CIFAR10_CLASSES, human, 1 / 255)


def _read_labels(path: Path) -> Labels:
    try:
        labels = np.load(_existing(path), allow_pickle=False)
    except _UNREADABLE as error:
        raise _damaged(path, "an array of labels", error) from error
    return _checked_labels(labels, path)


def _checked_labels(labels: Any, path: Path) -> Labels:
    array = np.asarray(labels)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InvalidInputError(f"one integer a sample in {path}", got=f"{array.dtype} of shape {array.shape}")
    wrong = np.flatnonzero((array < 0) | (array > 9))
    if wrong.size:
        raise InvalidInputError(f"labels 0..9 in {path}", got=f"{array[wrong[0]]} at index {wrong[0]}")
    return array.astype(np.int64)


def _read_jpegs(path: Path) -> tuple[Images, Labels]:
    try:
        # numpy leaves a file open that it opened and found to be no archive.
        with _existing(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            data, offsets = archive["data"], archive["offsets"]
    except _UNREADABLE as error:
        raise _damaged(path, "an archive of `data` and `offsets`", error) from error
    if data.dtype != np.uint8 or data.ndim != 1 or offsets.dtype.kind not in "iu" or offsets.ndim != 1:
        raise InvalidInputError(f"bytes and integer offsets in {path}", got=f"{data.dtype} and {offsets.dtype}")
    offsets = offsets.astype(np.int64)
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
        raise InvalidInputError(f"increasing offsets from 0 to {len(data)} in {path}", got=f"{len(offsets)} others")
    return data, offsets


def _decoded(path: Path, data: Images, offsets: Labels, cache: Path) -> Images:
    """Return the images of `data`, uint8 (N, 3, 32, 32), from the cache if these very bytes were decoded before."""
    digest = hashlib.sha256(data.tobytes() + offsets.tobytes()).hexdigest()[:16]
    count = len(offsets) - 1

    def decode() -> Images:
        return np.stack([_decode(data, offsets, index, path) for index in range(count)])

    return cached_array(cache / f"{path.stem}-{digest}.npy", np.uint8, (count, 3, 32, 32), decode)


def _decode(data: Images, offsets: Labels, index: int, path: Path) -> Images:
    require("PIL")
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data[offsets[index] : offsets[index + 1]].tobytes()))
        pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, f"a JPEG at index {index}", error) from error
    if pixels.shape != (32, 32, 3):
        raise InvalidInputError(f"a 32x32 RGB image at index {index} of {path}", got=f"shape {pixels.shape}")
    return pixels.transpose(2, 0, 1)


def _array_globals() -> dict[tuple[str, str], Callable[..., Any]]:
    """Return what a pickle of plain numpy arrays may call, under the names of numpy 1 and 2."""
    # numpy deprecates the integers that old pickles pass to dtype where it wants booleans.
    dtype = lambda spec, align=False, copy=False: np.dtype(spec, bool(align), bool(copy))  # noqa: E731
    reconstruct: Any = np.empty(0).__reduce__()[0]
    return {
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): dtype,
    }


class _ArrayUnpickler(pickle.Unpickler):
    """Reads containers of numbers, strings and numpy arrays, and refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the callable for an allowed name."""
        try:
            return _array_globals()[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a part of a numpy array") from None


def _read_batch(path: Path) -> tuple[Images, Labels]:
    try:
        with _existing(path).open("rb") as file:
            batch = _ArrayUnpickler(file, encoding="latin1").load()
        # The published files have Python 2 strings as keys; copies written by Python 3 have bytes.
        named = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        data, labels = np.asarray(named["data"]), _checked_labels(named["labels"], path)
    except InvalidInputError:
        raise
    except (*_UNREADABLE, pickle.UnpicklingError, AttributeError, IndexError, TypeError) as error:
        raise _damaged(path, "a batch of the Python version of CIFAR-10", error) from error
    if data.dtype != np.uint8 or data.shape != (len(labels), 3072):
        raise InvalidInputError(f"uint8 ({len(labels)}, 3072) data in {path}", got=f"{data.dtype} {data.shape}")
    return data.reshape(-1, 3, 32, 32), labels


def _read_cifar10n(path: Path, right: Labels) -> dict[str, Labels]:
    """Return the label sets of the published CIFAR-10N file, by our names, after comparing its right labels."""
    sets, own = read_published(path)
    if own is None or not np.array_equal(own, right):
        fix = "use the training images in their published order"
        raise InvalidInputError(f"the clean labels of the images in {path}", got="others", fix=fix)
    return {name: _checked_labels(labels, path) for name, labels in sets.items()}


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InvalidInputError(f"the file {path}", got="no such file", fix="point --data-dir at a complete copy")
    return path


def _damaged(path: Path, what: str, error: BaseException) -> InvalidInputError:
    got = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return InvalidInputError(f"{what} in {path}", got=got, fix="fetch the file again")


def _same_length(what: str, labels: Labels, count: int, folder: Path) -> None:
    if len(labels) != count:
        raise InvalidInputError(f"{count} {what} in {folder}, one an image", got=str(len(labels)))


#: Data sets by name: each is read from the folder of its files, and may keep what it computes in that of a cache.
SOURCES: dict[str, Callable[[StrPath | None, Path], _Raw]] = {
    "digits": _digits,
    "cifar10": _cifar10,
    "cifar10-hog": _cifar10_hog,
}
