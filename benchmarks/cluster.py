"""What a run on many machines takes: units measured here, and what they come to for a data set and a number of GPUs.

python -m benchmarks.cluster                                   # 100 M images on 64 GPUs; about half a minute
python -m benchmarks.cluster --samples 1281167 --ranks 8 --classes 1000
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.lab.experiment import FINISHED, new_parser, usage
from benchmarks.lab.tables import Grid, markdown
from noisycorrect.data.batches import LabelView
from noisycorrect.data.datasets import ArrayDataset
from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.storage import chosen_form
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import NoisyCorrectError
from noisycorrect.training.rank_facts import labels_digest

MEASURED = 20_000  # samples in the store that is measured
SMALL, LARGE = 1 << 10, 1 << 26  # bytes that are all-reduced
REPEATS = 5


@dataclass(frozen=True)
class Units:
    """What one sample, or one byte, costs on this machine.

    Attributes
    ----------
    order, digest, batch, publish : float
        Seconds a sample: to shuffle it, to compare its label between ranks, to read its label and evidence for a batch,
        to write and publish its evidence.
    evidence : float
        Bytes of a sample's evidence on disk, for each class.
    latency, bandwidth : float
        Of an all-reduce between two processes by gloo: seconds, and bytes a second.
    """

    order: float
    digest: float
    batch: float
    publish: float
    evidence: float
    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Cluster:
    """A data set and machines; what cannot be measured here is an assumption, and said to be one.

    Attributes
    ----------
    samples, classes, ranks : int
        N, K, and GPUs.
    parameters : float
        Of the network, float32.
    image_bytes : float
        Of a file.
    images_per_second : float
        That one GPU trains on: assumed.
    link : float
        Bytes a second between two GPUs: assumed.
    batch : int
        Images a GPU and step.
    """

    samples: int
    classes: int
    ranks: int
    parameters: float
    image_bytes: float
    images_per_second: float
    link: float
    batch: int


def plan(units: Units, cluster: Cluster) -> list[tuple[str, str, str]]:
    """Return rows of what a run takes: what, how much, and how it follows.

    Examples
    --------
    >>> rows = plan(Units(1e-8, 1e-8, 1e-5, 1e-5, 4.0, 1e-4, 1e9), Cluster(1000, 10, 2, 1e6, 1e5, 100.0, 1e9, 50))
    >>> rows[0]
    ('an epoch of training', '5.0 s', '1,000 images at 100 a second on each of 2 GPUs (assumed)')
    """
    n, k, ranks = cluster.samples, cluster.classes, cluster.ranks
    epoch = n / (cluster.images_per_second * ranks)
    steps = n / (cluster.batch * ranks)
    sent = 2 * (ranks - 1) / ranks * 4 * cluster.parameters
    evidence = units.evidence * k * n
    rate = cluster.images_per_second * cluster.image_bytes
    form = chosen_form("auto", n, k)
    held = 4.0 * k if form == "float32" else 8.0 * int(form.removeprefix("top-")) + 4  # bytes a sample: docs/scale.md
    return [
        ("an epoch of training", seconds(epoch),
         f"{n:,} images at {cluster.images_per_second:,.0f} a second on each of {ranks} GPUs (assumed)"),
        ("images read in an epoch", size(n * cluster.image_bytes), f"{size(rate)} a second for each GPU"),
        ("all-reduce of a step's gradient", size(sent),
         f"2 (W - 1) / W x 4 bytes x {cluster.parameters:,.0f} parameters, sent by each GPU"),
        ("its time", seconds(sent / cluster.link),
         f"at {size(cluster.link)} a second between GPUs (assumed); a step takes"
         f" {seconds(cluster.batch / cluster.images_per_second)}, and both overlap"),
        ("the same by gloo, as measured here", seconds(units.latency + sent / units.bandwidth),
         f"{seconds(units.latency)} and {size(units.bandwidth)} a second between two processes"),
        ("steps of an epoch", f"{steps:,.0f}", f"of {cluster.batch * ranks:,} images"),
        ("order of an epoch", seconds(units.order * n), f"drawn by every rank, {size(8 * n)} in its memory"),
        ("given labels", size(8 * n), f"in every rank's memory; compared at the start in {seconds(units.digest * n)}"),
        ("labels and evidence of a batch", seconds(units.batch * cluster.batch), "read by a rank's workers"),
        ("evidence of a generation", size(evidence), f"{units.evidence:.2f} bytes x {k:,} classes x N; two are kept"),
        ("publishing it", seconds(units.publish * n / ranks), "each rank its share, at once"),
        ("merging it", seconds(units.publish * n), "rank 0 copies all shares; at most what publishing takes here"),
        ("evidence of every step", size(held * n), f'in every rank\'s memory, with recipe="robust", held as {form}'),
        ("the same in float32", size(4.0 * n * k), 'with storage="float32", and of methods such as "elr"'),
    ]  # fmt: skip


def size(amount: float) -> str:
    """Return bytes for people.

    Examples
    --------
    >>> size(8e8), size(1.1e13)
    ('800 MB', '11 TB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.2g} {unit}" if amount < 100 else f"{amount:,.0f} {unit}"


def seconds(span: float) -> str:
    """Return a span of time for people.

    Examples
    --------
    >>> seconds(0.0021), seconds(5), seconds(1563)
    ('2.1 ms', '5.0 s', '26 min')
    """
    if span < 1:
        return f"{1e6 * span:.3g} us" if span < 1e-3 else f"{1e3 * span:.3g} ms"
    if span < 100:
        return f"{span:.1f} s"
    return f"{span / 60:.0f} min" if span < 7200 else f"{span / 3600:.1f} h"


def fastest(work: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the seconds of the fastest of some calls: the others were disturbed."""
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def measured(folder: Path, classes: int) -> Units:
    """Measure the units on this machine."""
    generator = np.random.default_rng(0)
    given = generator.integers(0, classes, MEASURED)
    probs = torch.from_numpy(generator.dirichlet(np.ones(classes), 512).astype(np.float32))
    store = SoftLabelStore.create(folder / "labels", given, classes)

    def publish() -> None:
        with store.new_generation() as writer:
            for start in range(0, MEASURED, 512):
                rows = range(start, min(MEASURED, start + 512))
                writer.write(rows, probs[: len(rows)])

    written = fastest(publish, repeats=2)
    bytes_of = next((folder / "labels").glob(f"generation-{store.generation:04d}*")).stat().st_size
    view = LabelView(ArrayDataset(torch.zeros(MEASURED, 1), given), store, seed=0)
    batch = generator.permutation(MEASURED)[:256].tolist()
    many = torch.randint(classes, (10 * MEASURED,))
    latency, large = all_reduce_seconds(folder)
    return Units(
        order=fastest(lambda: torch.randperm(100 * MEASURED)) / (100 * MEASURED),
        digest=fastest(lambda: labels_digest(many)) / len(many),
        batch=fastest(lambda: view.__getitems__(batch)) / len(batch),
        publish=written / MEASURED,
        evidence=bytes_of / MEASURED / classes,
        latency=latency,
        bandwidth=(LARGE - SMALL) / max(large - latency, 1e-9),  # of two ranks each sends as much as it has
    )


def all_reduce_seconds(folder: Path) -> tuple[float, float]:
    """Return the seconds of an all-reduce of 1 kB, and of 64 MB, between two gloo processes on this machine."""
    mp.spawn(_reduce, args=(folder,), nprocs=2)  # type: ignore[attr-defined, no-untyped-call]
    small, large = np.load(folder / "seconds.npy")
    return float(small), float(large)


def _reduce(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=(folder / "meeting").resolve().as_uri(), rank=rank, world_size=2)
    found = []
    for amount in (SMALL, LARGE):
        values = torch.zeros(amount // 4)
        dist.all_reduce(values)
        found.append(fastest(lambda: dist.all_reduce(values)))  # noqa: B023 - called before it changes
    if rank == 0:
        np.save(folder / "seconds.npy", found)
    dist.barrier()
    dist.destroy_process_group()


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and print the plan as a table; return the exit status."""
    parser = new_parser("cluster", "What a run on many machines takes.")
    parser.add_argument("--samples", type=int, default=100_000_000, help="images (default: %(default)s)")
    parser.add_argument("--classes", type=int, default=1000, help="classes (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=64, help="GPUs (default: %(default)s)")
    parser.add_argument("--parameters", type=float, default=25.6e6, help="of the network (default: %(default)s)")
    parser.add_argument("--image-bytes", type=float, default=110e3, help="of a file (default: %(default)s)")
    parser.add_argument("--images-per-second", type=float, default=1000, help="a GPU; assumed (default: %(default)s)")
    parser.add_argument("--link", type=float, default=25e9, help="bytes a second; assumed (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="images a GPU and step (default: %(default)s)")
    arguments = parser.parse_args(words)
    try:
        counts = {name: whole_number(f"--{name}", getattr(arguments, name), least=1) for name in ("samples", "batch")}
        counts |= {name: whole_number(f"--{name}", getattr(arguments, name), least=2) for name in ("classes", "ranks")}
        names = ("parameters", "image_bytes", "images_per_second", "link")
        amounts = {name: finite_number(f"--{name}", getattr(arguments, name), above=1, fix="") for name in names}
    except NoisyCorrectError as error:
        return usage(error)
    with tempfile.TemporaryDirectory() as folder:
        units = measured(Path(folder), arguments.classes)
    rows = plan(units, Cluster(**counts, **amounts))  # type: ignore[arg-type]
    print(markdown(Grid([["what", "how much", "how it follows"], *map(list, rows)], left=(0, 2))))
    return FINISHED


if __name__ == "__main__":
    sys.exit(main())
