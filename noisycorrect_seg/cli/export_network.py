"""``noisycorrect export-network``: a network as files that run without this package."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.cli.networks import ONNX_SUFFIX, SOURCES, Loaded, Subparsers, loaded, size_in


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "export-network",
        help="write a network for masks as ONNX, and as 8-bit whole numbers",
        description="Write a network as an ONNX file, checked against torch, and as one of 8-bit whole numbers (INT8), "
        "whose ranges are measured on photos. Classes, size and normalisation stand in the files; `noisycorrect parse` "
        "takes them as --checkpoint. Needs pip install 'noisycorrect[seg,onnx]'.",
    )
    parser.add_argument("weights", metavar="WEIGHTS", help=SOURCES)
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write it as ONNX, float32")
    parser.add_argument("--int8", type=Path, metavar="FILE", help="write it as ONNX of 8-bit whole numbers")
    parser.add_argument(
        "--photos",
        nargs="+",
        type=Path,
        default=[],
        metavar="PHOTO_OR_FOLDER",
        help="for --int8: some dozens of photos as the network will see",
    )
    parser.add_argument("--most", type=int, default=64, metavar="N", help="of them at most (default: %(default)s)")
    parser.add_argument(
        "--reduce-range", action="store_true", help="for --int8: 7 bits a weight, for processors without VNNI"
    )
    parser.add_argument("--classes", help="a list's name or a classes file (default: as the weights say)")
    parser.add_argument("--size", type=size_in, metavar="HxW", help="of the input (default: as the weights say)")
    parser.add_argument(
        "--normalisation", choices=("bgr", "rgb"), help="how values become the input (default: as the weights say)"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="images in one call (default: any number)")
    parser.add_argument("--official", action="store_true", help="they are the SCHP authors' (default: found out)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write what the options ask for; return 0."""
    _check(options)
    if options.photos:
        from noisycorrect_seg.datasets.rasters import ARRAY_SUFFIX
        from noisycorrect_seg.inference.images import image_files

        image_files(options.photos, (ARRAY_SUFFIX,))  # a wrong path is found before the network is read
    found = loaded(options.weights, official=options.official)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(options.weights)
        if not _is_onnx(options):
            file = options.onnx or Path(scratch) / "network.onnx"
            _write_onnx(found, file, options)
        if options.int8 is not None:
            _write_int8(file, options)
    return 0


def _is_onnx(options: argparse.Namespace) -> bool:
    return bool(options.weights.lower().endswith(ONNX_SUFFIX))


def _check(options: argparse.Namespace) -> None:
    """Raise an InvalidInputError unless the options fit together."""
    if options.onnx is None and options.int8 is None:
        raise InvalidInputError("--onnx FILE, --int8 FILE or both", got="neither", fix="say where the network is to go")
    if (options.int8 is None) != (not options.photos):
        got = "--int8 alone" if options.photos == [] else "--photos alone"
        fix = "ranges of whole numbers are measured on photos: pass --int8 FILE --photos FOLDER"
        raise InvalidInputError("--int8 together with --photos", got=got, fix=fix)
    given = [name for name in ("onnx", "classes", "size", "batch_size") if getattr(options, name) is not None]
    if _is_onnx(options) and given:
        got, fix = f"--{given[0].replace('_', '-')}", "it is written already: pass --int8 and --photos"
        raise InvalidInputError("an ONNX file as it is", got=got, fix=fix)
    both = [path.resolve() for path in (options.onnx, options.int8) if path is not None]
    if len(set(both)) < len(both) or Path(options.weights).resolve() in both:
        fix = "give each file a name of its own"
        raise InvalidInputError("different files", got=str(both[-1]), fix=fix)


def _write_onnx(found: Loaded, file: Path, options: argparse.Namespace) -> None:
    from noisycorrect_seg.export import export_onnx
    from noisycorrect_seg.inference.calling import shown_to

    size = options.size or found.size
    if size is None:
        fix = "pass the size of the crops that it was trained on"
        raise InvalidInputError("--size HxW", got=f"none, and {options.weights} does not say", fix=fix)
    classes, shown = found.named(options.classes), shown_to(found.network, options.normalisation or found.normalisation)
    more = {"batch_size": options.batch_size, "classes": classes, "normalisation": shown}
    export_onnx(found.network, size, file, **more)
    if options.onnx is not None:
        about = f"{len(classes)} classes, {size[0]}x{size[1]}, {shown.channels} channels"
        print(visible(f"{file}: {about}, {file.stat().st_size / 1e6:.1f} MB"))


def _write_int8(file: Path, options: argparse.Namespace) -> None:
    from noisycorrect_seg.deploy import quantize_onnx

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        more = {"most": options.most, "reduce_range": options.reduce_range}
        quantized = quantize_onnx(file, options.int8, options.photos, normalisation=options.normalisation, **more)
    for each in said:
        print(visible(f"noisycorrect: {each.message}"), file=sys.stderr)
    print(visible(str(quantized)))
