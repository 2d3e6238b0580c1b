"""``noisycorrect parse``: photos and videos in, palette PNGs out."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError

if TYPE_CHECKING:
    from noisycorrect_seg.ace2p import ACE2P
    from noisycorrect_seg.classes import Classes
    from noisycorrect_seg.inference import Recipe

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

RUNTIMES = ("auto", "torch", "onnx")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command ``parse``; an entry point of the group ``noisycorrect.commands``."""
    parser = subparsers.add_parser(
        "parse",
        help="parse photos and videos of people",
        description="Parse photos, or the photos of folders, and write a palette PNG for each; of a video one for each "
        "frame, into a folder of its name, averaged along the motion. Photos that cannot be read and videos that are "
        "cut off are named at the end, and the exit status is 1. A video that was interrupted goes on.",
    )
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO_OR_FOLDER_OR_VIDEO")
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="WEIGHTS",
        help="a file, ours, the SCHP authors' or of ONNX; a folder of save_pretrained; lip, atr or pascal, which are "
        "downloaded; or a repository on the Hugging Face hub, owner/name",
    )
    parser.add_argument("--official", action="store_true", help="it is the authors' (default: found out)")
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="auto",
        help="what runs the network: torch or onnx (onnxruntime, on the CPU), for which weights of torch are exported "
        "first (default: onnx for files that end in .onnx)",
    )
    parser.add_argument(
        "--classes", help="lip, atr, pascal, cihp, ccp or a classes file (default: as the checkpoint says)"
    )
    parser.add_argument("--size", type=_size, metavar="HxW", help="the network's frame (default: as published)")
    parser.add_argument("--scales", type=_scales, default=(1.0,), metavar="S,S,...", help="average over scales")
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument("--convention", default="extractor", help="extractor (default) or evaluator")
    parser.add_argument("--out", type=Path, default=Path("parsed"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--overlay", action="store_true", help="write overlays, too")
    parser.add_argument("--probs", action="store_true", help="write class probabilities, too (.npz, float16)")
    parser.add_argument(
        "--window", type=int, default=3, metavar="N", help="frames before and after that count (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", default="float32", help="float32 (default), bfloat16, float16, auto")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Parse what the options say; return 0, or 1 if some photos could not be read."""
    # Here, so that other commands do not wait for it.
    from noisycorrect_seg.inference import Recipe, parse_files
    from noisycorrect_seg.inference.images import image_files
    from noisycorrect_seg.video.reading import VIDEO_SUFFIXES, opened_video

    videos = [path for path in options.photos if path.suffix.lower() in VIDEO_SUFFIXES and not path.is_dir()]
    options.photos = [path for path in options.photos if path not in videos]
    if options.photos or not videos:
        image_files(options.photos)  # a wrong path is found before the network is read
    for path in videos:
        opened_video(path)
    with tempfile.TemporaryDirectory() as scratch:
        network, classes, size, known = _network(options, Path(scratch) / "network.onnx")
        recipe = Recipe(classes, size, options.scales, options.flip, options.convention)
        if not known:
            said = f"{options.checkpoint} does not say the size that it was trained on, {size[0]}x{size[1]} was taken"
            print(visible(f"noisycorrect: {said}: pass --size, or save with size="), file=sys.stderr)
        whole = [_video(network, path, recipe, options) for path in videos]
        if not options.photos:
            return 0 if all(whole) else 1
        report = parse_files(
            network,
            options.photos,
            options.out,
            recipe,
            device=options.device,
            precision=options.precision,
            batch_size=options.batch_size,
            overlays=options.overlay,
            probs=options.probs,
        )
    print(f"{report}: {options.out}")
    for path, reason in report.failed.items():
        print(visible(f"noisycorrect: {path}: {reason}"), file=sys.stderr)
    return 0 if all(whole) and not report.failed else 1


def _video(network: Any, path: Path, recipe: Recipe, options: argparse.Namespace) -> bool:
    """Parse a video into a folder of its name; return whether it could be read to its end."""
    import warnings

    from noisycorrect_seg.video import parse_video

    out = options.out / path.stem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is wrong with the video is printed below
        parsed = parse_video(
            network,
            path,
            out,
            classes=recipe.classes,
            size=recipe.size,
            scales=recipe.scales,
            flip=recipe.flip,
            convention=recipe.convention,
            window=options.window,
            overlay=options.overlay,
            probs=options.probs,
            batch_size=options.batch_size,
            device=options.device,
            precision=options.precision,
        )
    print(f"{len(parsed)} frames parsed: {out}")
    if parsed.problem is not None:
        print(visible(f"noisycorrect: {path}: {parsed.problem}"), file=sys.stderr)
    return parsed.problem is None


def _network(options: argparse.Namespace, exported: Path) -> tuple[Any, Classes, tuple[int, int], bool]:
    """Return the network that the options name, in the runtime that they name; its classes, frame, if that is known."""
    from noisycorrect_seg.inference.calling import PUBLISHED_SIZE

    is_onnx = options.checkpoint.lower().endswith(".onnx")
    if is_onnx and options.runtime == "torch":
        raise InvalidInputError(
            "weights of torch with --runtime torch", got=options.checkpoint, fix="leave --runtime out: onnx runs it"
        )
    load = _load_onnx if is_onnx else load_network
    network, classes, size = load(options.checkpoint, official=options.official)
    if options.classes is not None:
        classes = classes_of(
            options.classes, len(classes or ()) if network.num_classes is None else network.num_classes
        )
    elif classes is None:
        raise InvalidInputError(
            f"--classes for a network of {network.num_classes} classes",
            got="none, and the checkpoint does not say",
            fix="name a list or a classes file; or save the network with classes= and size=",
        )
    frame = options.size or size or PUBLISHED_SIZE
    if options.runtime == "onnx" and not is_onnx:
        from noisycorrect_seg.export import export_onnx

        export_onnx(network, frame, exported, classes=classes)
        network = _load_onnx(str(exported))[0]
    return network, classes, frame, options.size is not None or size is not None


def _load_onnx(path: str, *, official: bool = False) -> tuple[Any, Classes | None, tuple[int, int] | None]:
    from noisycorrect_seg.deploy import OnnxNetwork

    if official:
        raise InvalidInputError("--official with weights of torch", got=path, fix="leave --official out")
    network = OnnxNetwork(path)
    return network, network.classes, network.size


def load_network(source: str | Path, *, official: bool = False) -> tuple[ACE2P, Classes | None, tuple[int, int] | None]:
    """Return a network with its weights, and its classes and size if they are known.

    Parameters
    ----------
    source : str or Path
        What :meth:`ACE2P.from_pretrained <noisycorrect_seg.ace2p.ACE2P.from_pretrained>` takes.
    official : bool
        Take a file for the authors' without looking.

    Raises
    ------
    InvalidInputError, CheckpointError
        If there is no such thing, it is neither ours nor the authors', or damaged.
    """
    from noisycorrect_seg.ace2p import ACE2P
    from noisycorrect_seg.hub import released_for

    if official:
        network = ACE2P.from_official(source)
        named = released_for(network.num_classes)
        return network, None if named is None else named.classes, None if named is None else named.size
    network = ACE2P.from_pretrained(source)
    return network, network.classes, network.size


def classes_of(named: str, count: int | None) -> Classes:
    """Return the classes that a user named: a known list, or a classes file.

    Raises
    ------
    InvalidInputError
        If they are unknown, or not as many as the network's.

    Examples
    --------
    >>> classes_of("atr", 18).name
    'atr'
    """
    from noisycorrect_seg.datasets.class_file import as_classes

    classes = as_classes(named)
    if count is not None and len(classes) != count:
        raise InvalidInputError(
            f"--classes with {count} classes, as the network has",
            got=f"{named!r} with {len(classes)}",
            fix="name the list that the network was trained on",
        )
    return classes


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 473x473, height first")
    return int(height), int(width)


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of scales: write 0.75,1.0,1.25") from None
