"""Human parsing on masks that cannot be trusted: plain training against self-correction, at equal sample passes.

    python -m benchmarks.lip                                   # drawn people, minutes on two cores
    python -m benchmarks.lip --ablation correction --seeds 3   # the four rows of the paper's Table 4
    python -m benchmarks.lip --dataset ccp --data-dir CCP --preset light --seeds 2
    python -m benchmarks.lip --dataset lip --data-dir DIR --preset paper --weights resnet101-imagenet.pth --dry-run
    python -m benchmarks.lip --dataset lip --data-dir DIR --evaluate exp-schp-201908261155-lip.pth --tta
    torchrun --nproc-per-node 4 -m benchmarks.lip --dataset lip --data-dir DIR --preset paper

A killed study goes on where it was, in the middle of a run too. Clean masks score; they are never trained on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lab.experiment import add_cell_options, add_seed_options, new_parser, usage
from benchmarks.lab.extras import require
from benchmarks.parsing.methods import PARSING_METHODS
from benchmarks.parsing.plan import ABLATIONS, BACKBONES, CONTEXTS, OPTIMIZERS, PRESETS, TERMS
from noisycorrect.support.errors import NoisyCorrectError


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    rows = "; ".join(f"{name}: {recipe.reference}" for name, recipe in PARSING_METHODS.items())
    parser = new_parser("lip", "Plain training against self-correction on human parsing.", epilog=f"Rows: {rows}.")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--dataset", default="people", help="people (drawn, default), lip, pascal, atr, cihp, ccp, folder"
    )
    data.add_argument("--data-dir", type=Path, help="folder of the data set's files; people need none")
    data.add_argument("--noise", help="noise on the masks of drawn people, such as boundary:3+swap:0.2, or none")
    data.add_argument("--train-limit", type=int, help="at most so many training images")
    data.add_argument("--val-limit", type=int, help="at most so many validation images")
    data.add_argument("--shrink", type=float, help="keep images in memory, at so many times their size in the input")
    data.add_argument("--workers", type=int, default=0, help="processes that load data (default: %(default)s)")
    study = parser.add_argument_group("study")
    study.add_argument("--rows", help="rows, with commas (default: none,both,robust; see below)")
    study.add_argument("--ablation", help=f"instead: {', '.join(ABLATIONS)} (Tables 4, 3, Fig. 5a, 5b, 6 of the paper)")
    add_seed_options(study, 1)
    training = parser.add_argument_group("training (defaults: the preset's)")
    training.add_argument("--preset", help=f"{', '.join(PRESETS)} (default: demo for drawn people, else small)")
    training.add_argument("--size", help="input as HEIGHTxWIDTH")
    training.add_argument("--losses", help=f"terms of the loss, joined by +: {', '.join(TERMS)}")
    training.add_argument("--backbone", help=f"{', '.join(BACKBONES)}, efficientnet-lite0[-stride32], unet")
    training.add_argument("--optimizer", help=", ".join(OPTIMIZERS))
    training.add_argument("--context", help=", ".join(CONTEXTS))
    training.add_argument("--width", type=float, help="factor on the channels")
    training.add_argument("--weights", type=Path, help="file of ImageNet weights for the backbone")
    training.add_argument("--pretrained", action="store_true", default=None, help="or those of the extra `pretrained`")
    training.add_argument("--freeze", type=int, help="levels of the backbone that stay as they are, 0 to 4")
    training.add_argument("--backbone-rate", type=float, help="factor on the backbone's learning rate")
    training.add_argument("--epochs", type=int, help="of self-correction, divided as in the paper, 100 : 5 x 10")
    training.add_argument("--init-epochs", type=int, help="or its initial phase,")
    training.add_argument("--cycles", type=int, help="cycles,")
    training.add_argument("--cycle-epochs", type=int, help="and their length")
    training.add_argument("--lr", type=float, help="peak learning rate")
    training.add_argument("--batch-size", type=int, help="samples in a batch, over all ranks")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto (default), cpu, cuda, mps")
    machine.add_argument("--amp", default="auto", help="precision: auto (half on CUDA), float32, bfloat16, float16")
    machine.add_argument("--compile", action="store_true", help="torch.compile the network")
    machine.add_argument("--channels-last", action="store_true", help="lay the network out channels last")
    machine.add_argument(
        "--dry-run", action="store_true", help="print the plan, its compute, memory and disk, and stop"
    )
    checkpoint = parser.add_argument_group("evaluation")
    checkpoint.add_argument("--evaluate", type=Path, help="measure a checkpoint, or the folder of a run, and stop")
    checkpoint.add_argument("--tta", action="store_true", help="average over scales 0.5 to 1.5 and mirrors")
    checkpoint.add_argument(
        "--official-centres", action="store_true", help="shift maps by half a pixel, as the published evaluator does"
    )
    output = parser.add_argument_group("output")
    add_cell_options(output, "lip")
    output.add_argument("--keep-labels", action="store_true", help="leave each run's checkpoint and refined labels")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    arguments = parse_arguments(words)
    try:
        require("PIL")
    except NoisyCorrectError as error:
        return usage(error)
    from benchmarks.parsing.commands import command

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
