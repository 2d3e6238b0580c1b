"""``noisycorrect parse``: photos and videos in, palette PNGs out."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.cli.networks import ONNX_SUFFIX, SOURCES, Loaded, Subparsers, loaded, size_in
from noisycorrect_seg.cli.people import add_people_options, people_of, said_of
from noisycorrect_seg.cli.videos import broken_among, folders_of, parsed_video, without_videos

if TYPE_CHECKING:
    from noisycorrect_seg.inference import FolderReport, Recipe

RUNTIMES = ("auto", "torch", "onnx")
OWN = (0, 0)  # tiles of the network's own size


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "parse",
        help="parse photos and videos of people",
        description="Parse photos, or the photos of folders, and write a palette PNG for each; of a video one for each "
        "frame, into a folder of its name, averaged along the motion. With --boxes or --detector photos show several "
        "people, each is parsed in a crop of their own, and Human_ids/ says whose each pixel is. Photos that cannot be "
        "read, boxes that cannot be used and videos that are cut off are named at the end, and the exit status is 1. A "
        "video that was interrupted goes on. Animations (GIF, WebP, PNG) are videos, and with --frames folders are.",
    )
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO_OR_FOLDER_OR_VIDEO")
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="WEIGHTS",
        help=SOURCES,
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
    parser.add_argument("--size", type=size_in, metavar="HxW", help="the network's frame (default: as published)")
    parser.add_argument(
        "--tile",
        nargs="?",
        type=size_in,
        const=OWN,
        metavar="HxW",
        help="parse large photos by tiles at full resolution, of the network's own size unless another is named "
        "(default without --size: as the network was trained, if a run says so)",
    )
    parser.add_argument("--scales", type=_scales, default=(1.0,), metavar="S,S,...", help="average over scales")
    parser.add_argument("--flip", action="store_true", help="average with the mirror image")
    parser.add_argument("--convention", default="extractor", help="extractor (default) or evaluator")
    parser.add_argument("--out", type=Path, default=Path("parsed"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--overlay", action="store_true", help="write overlays, too")
    parser.add_argument("--probs", action="store_true", help="write class probabilities, too (.npz, float16)")
    parser.add_argument(
        "--window", type=int, default=3, metavar="N", help="frames before and after that count (default: %(default)s)"
    )
    parser.add_argument(
        "--frames",
        action="store_true",
        help="each folder is a video: its pictures are frames, in order of the numbers in their names",
    )
    parser.add_argument(
        "--no-resume",
        action="store_false",
        dest="resume",
        help="parse videos anew: what is in their folders is replaced (default: what is there is gone on with)",
    )
    add_people_options(parser)
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", default="float32", help="float32 (default), bfloat16, float16, auto")
    parser.add_argument("--batch-size", type=int, default=4, metavar="N", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Parse what the options say; return 0, or 1 if not all could be read or used."""
    # Here, so that other commands do not wait for it.
    from noisycorrect_seg.datasets.rasters import ARRAY_SUFFIX
    from noisycorrect_seg.geometry.tiles import checked_tiling
    from noisycorrect_seg.inference import parse_files
    from noisycorrect_seg.inference.images import image_files
    from noisycorrect_seg.inference.people_folder import parse_people_files

    videos, options.photos = without_videos(options.photos, frames=options.frames)
    if options.photos or not videos:
        image_files(options.photos, (ARRAY_SUFFIX,))  # a wrong path is found before the network is read
    how = people_of(options, videos)
    _check(options, videos)
    broken, names = broken_among(videos), folders_of(videos)
    if broken and len(broken) == len(videos) and not options.photos:
        raise next(iter(broken.values()))
    videos = [path for path in videos if path not in broken]
    with tempfile.TemporaryDirectory() as scratch:
        network, recipe, found = _network(options, Path(scratch) / "network.onnx")
        if options.size is None and options.tile in (None, OWN) and found.size is None:
            said = f"{options.checkpoint} does not say the size that it was trained on, {_word(recipe.size)} was taken"
            print(visible(f"noisycorrect: {said}: pass --size, or save with size="), file=sys.stderr)
        whole = [parsed_video(network, path, names[path], recipe, options, how, broken) for path in videos]
        for path, error in broken.items():
            print(visible(f"noisycorrect: {path}: {error}"), file=sys.stderr)
        if not options.photos:
            return 2 if len(broken) == len(names) else int(bool(broken) or not all(whole))
        shared: dict[str, Any] = {
            "device": options.device,
            "precision": options.precision,
            "batch_size": options.batch_size,
            "overlays": options.overlay,
        }
        report: FolderReport
        if how is None:
            overlap = checked_tiling(recipe.size)[1] if _tiled(options, found) else None
            report = parse_files(
                network, options.photos, options.out, recipe, probs=options.probs, overlap=overlap, **shared
            )
        else:
            report = parse_people_files(network, options.photos, options.out, recipe, how, **shared)
    print(f"{report}: {options.out}")
    for line in said_of(report):
        print(visible(f"noisycorrect: {line}"), file=sys.stderr)
    return 0 if all(whole) and not broken and not report.failed and not getattr(report, "left_out", None) else 1


def _check(options: argparse.Namespace, videos: Sequence[Path]) -> None:
    """Raise an InvalidInputError unless the options fit together."""
    from noisycorrect_seg.video.parse import averaging_of

    if videos:
        averaging_of(options.window, "farneback")
    if options.tile is not None and videos:
        raise InvalidInputError("photos with --tile", got=f"the video {videos[0]}", fix="leave --tile out")
    if options.tile is not None and options.size is not None:
        fix = "the network is shown tiles at full resolution: leave one of them out"
        raise InvalidInputError("--size or --tile", got="both", fix=fix)


def _tiled(options: argparse.Namespace, found: Loaded) -> bool:
    """Return whether photos are parsed by tiles: as the options say, else as the network was trained, which is said."""
    if options.tile is not None or options.size is not None or found.tile is None or found.size is None:
        return options.tile is not None
    trained, size = _word(found.tile), _word(found.size)
    said = f"trained on tiles of {trained}, by which photos are parsed; whole ones with --size {size}"
    if found.tile != found.size:
        said = f"trained on tiles of {trained} scaled to {size}, photos are parsed whole: cut large ones as in training"
    print(visible(f"noisycorrect: {options.checkpoint}: {said}"), file=sys.stderr)
    return found.tile == found.size


def _word(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _network(options: argparse.Namespace, exported: Path) -> tuple[Any, Recipe, Loaded]:
    """Return the network that the options name, in the runtime that they name; how it parses; what is known of it."""
    from noisycorrect_seg.inference import Recipe
    from noisycorrect_seg.inference.calling import PUBLISHED_SIZE, shown_to

    is_onnx = options.checkpoint.lower().endswith(ONNX_SUFFIX)
    if is_onnx and options.runtime == "torch":
        raise InvalidInputError(
            "weights of torch with --runtime torch", got=options.checkpoint, fix="leave --runtime out: onnx runs it"
        )
    found = loaded(options.checkpoint, official=options.official)
    tile = None if options.tile == OWN else options.tile
    classes, frame = found.named(options.classes), options.size or tile or found.size or PUBLISHED_SIZE
    network, shown = found.network, shown_to(found.network, found.normalisation)
    if options.runtime == "onnx" and not is_onnx:
        from noisycorrect_seg.export import export_onnx

        export_onnx(network, frame, exported, classes=classes, normalisation=shown)
        network = loaded(str(exported)).network
    recipe = Recipe(classes, frame, options.scales, options.flip, options.convention, normalisation=shown)
    return network, recipe, found


def _scales(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of scales: write 0.75,1.0,1.25") from None
