"""Contact sheets of drawn people, of mask noise and of try-on, to be looked at: would a person draw such a mask.

    python -m benchmarks.sheets                                        # every model at its usual strength
    python -m benchmarks.sheets --noise "omit:0.5:only=8,9,10;markov:60" --count 6 --size 128x96
    python -m benchmarks.sheets --tryon --size 192x144                 # class maps, agnostic pictures, cut-outs, hands
    python -m benchmarks.sheets --dataset folder --data-dir DIR --noise "boundary:2:side=in;annotators:5"

Each sheet has a column a picture: the picture, its right mask, and a wrong mask a model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.lab.experiment import FINISHED, new_parser, usage
from benchmarks.lab.extras import require
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

SHEETS: Mapping[str, str] = {
    "omission": "omit:0.5:only=1,5,8,9,10;drop:0.4;drop:0.4:fill=around;drop:0.6:at_most=0.1",
    "borders": "boundary:2:side=in:together;boundary:2:side=out:together;boundary:2;markov;superpixel:6;polygon:8",
    "names": "confusion:0.6:one_way:whole;confusion:0.6:whole;confusion:0.6",
    "annotators": "annotators:5;annotators:5:strength=1;realistic",
}
"""Models of the sheets that are made unless told, by the sheets' names; classes are those of drawn people."""
HANDS = 200  # drawn people on whom hands are looked for with --tryon


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser("sheets", "Contact sheets of mask noise.")
    add = parser.add_argument
    add("--dataset", default="people", help="people (drawn, default), or a data set's name")
    add("--data-dir", type=Path, help="folder of the data set's files; people need none")
    add("--split", default="train", help="of the data set (default: %(default)s)")
    add("--tryon", action="store_true", help="what virtual try-on needs, of drawn people, instead of noise")
    add("--noise", help="noise models, with semicolons: one sheet of these instead")
    add("--count", type=int, default=8, help="pictures (default: %(default)s)")
    add("--size", default="64x48", help="of drawn people, HEIGHTxWIDTH (default: %(default)s)")
    add("--height", type=int, default=128, help="of a picture on the sheet, in pixels (default: %(default)s)")
    add("--seed", type=int, default=0, help="of people and noise (default: %(default)s)")
    add("--out", type=Path, default=Path("runs/sheets"), help="folder (default: %(default)s)")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Write the sheets; return the exit status."""
    arguments = parse_arguments(words)
    try:
        require("PIL")
        (_write_tryon if arguments.tryon else _write)(arguments)
    except NoisyCorrectError as error:
        return usage(error)
    return FINISHED


def _write_tryon(arguments: argparse.Namespace) -> None:
    from PIL.Image import Dither, Quantize

    from benchmarks.parsing.plan import parse_size
    from benchmarks.parsing.tryon import agnostic_sheet, cut_out_sheet, hand_scores, maps_sheet
    from noisycorrect_seg.datasets import SyntheticPeople
    from noisycorrect_seg.inference.visualise import save_picture

    count = whole_number("--count", arguments.count, least=1)
    people = SyntheticPeople(count, seed=arguments.seed, size=parse_size(arguments.size), split=arguments.split)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, sheet in (("agnostic", agnostic_sheet), ("cut-outs", cut_out_sheet), ("class-maps", maps_sheet)):
        path = arguments.out / f"tryon-{name}.png"
        # A third of the size; it leaves the colours of classes alone.
        small = sheet(people, range(count)).quantize(256, Quantize.FASTOCTREE, dither=Dither.NONE)
        save_picture(path, small, "PNG", optimize=True)
        print(path)
    print(f"{hand_scores(HANDS, seed=arguments.seed)} ({HANDS} drawn people, seed {arguments.seed})")


def _write(arguments: argparse.Namespace) -> None:
    from benchmarks.parsing.plan import parse_size
    from noisycorrect_seg.datasets import ParsingSource, SyntheticPeople, source_named
    from noisycorrect_seg.inference.visualise import colour_mask, contact_sheet, save_picture
    from noisycorrect_seg.noise import parse, realistic

    count = whole_number("--count", arguments.count, least=1)
    whole_number("--height", arguments.height, least=16)
    source: ParsingSource
    if arguments.dataset == "people":
        size = parse_size(arguments.size)
        source = SyntheticPeople(count, seed=arguments.seed, size=size, split=arguments.split, classes="people")
    elif arguments.data_dir is None:
        raise InvalidInputError("--data-dir", got="none", fix=f"where the files of {arguments.dataset} are")
    else:
        source = source_named(arguments.dataset, arguments.data_dir, arguments.split)
    places = np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(int)).tolist()
    images = [source.image(place) for place in places]
    masks = [mask for mask in map(source.mask, places) if mask is not None]
    if len(masks) < len(images):
        raise InvalidInputError(
            "a mask for each picture", got=f"{len(masks)} of {len(images)}", fix="they are the right ones"
        )

    for name, spellings in (SHEETS if arguments.noise is None else {"noise": arguments.noise}).items():
        height = images[0].shape[0]
        factor = max(1, round(arguments.height / height))
        rows = {"pictures": images, "right masks": [colour_mask(mask, source.classes) for mask in masks]}
        for spelling in spellings.split(";"):
            model = realistic(height, source.classes) if spelling == "realistic" else parse(spelling)
            noisy = model.apply(masks, classes=source.classes, seed=arguments.seed, images=images)
            title = f"{spelling}, {100 * noisy.foreground_rate():.0f} % of what is a person before or after is wrong"
            rows[title] = [colour_mask(mask, source.classes) for mask in noisy.masks]
        path = arguments.out / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        enlarged = [[picture.repeat(factor, 0).repeat(factor, 1) for picture in row] for row in rows.values()]
        save_picture(path, contact_sheet(enlarged, row_titles=list(rows)), "PNG")
        print(path)


if __name__ == "__main__":
    sys.exit(main())
