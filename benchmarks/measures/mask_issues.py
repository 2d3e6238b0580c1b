"""What ranking masks by label quality costs, beside cleanlab's segmentation module: time, and memory by its growth.

Row `issues` of `python -m benchmarks.speed`.
"""

from __future__ import annotations

import functools
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.lab.extras import require
from benchmarks.lab.measurement import Measurement, paired, peak_memory
from benchmarks.measures.engine import MAP_SHAPE, smooth_maps
from noisycorrect import SoftLabelStore, find_label_issues

MASKS = 96
WRONG = 0.25  # of the masks, a square of another class
BUDGET = 1 / 3


def measure_issues(folder: Path, repeats: int) -> list[Measurement]:
    """Measure ranking masks from a label store, reading included, against ranking arrays in memory with cleanlab."""
    require("cleanlab")
    probs, given = maps_and_masks()
    store = SoftLabelStore.create(folder / "masks", list(given), MAP_SHAPE[0], kind="segmentation")
    with store.new_generation() as writer:
        writer.write(range(MASKS), probs)
    arrays = given.astype(np.int64), probs.numpy()
    size = f"{MASKS} masks of {MAP_SHAPE[1]} x {MAP_SHAPE[2]}, {MAP_SHAPE[0]} classes"
    rows = []
    for name, other, reference, budget in (
        ("finding and ranking masks", cleanlab_issues, f"cleanlab's issues and scores (softmin), {size}", BUDGET),
        ("finding and ranking masks, against scores alone", cleanlab_scores, f"cleanlab's scores alone, {size}", None),
    ):
        times = paired(lambda: find_label_issues(store), functools.partial(other, *arrays), repeats)
        note = "ours reads and decodes the store, and names the classes; cleanlab's arrays are in memory"
        rows.append(Measurement(name, reference, *times[:2], "s", times[2], budget, note))
    ours, theirs = (_growth(folder / "masks", by) / 1e9 for by in ("store", "cleanlab"))
    note = "of the process's peak; the arrays of cleanlab count, for it takes no store"
    rows.append(
        Measurement(
            "memory to rank masks", f"cleanlab's scores alone, {size}", ours, theirs, "GB", ours / theirs, None, note
        )
    )
    return rows


def maps_and_masks() -> tuple[Tensor, np.ndarray]:
    """Return class probabilities (n, 20, 119, 119), and masks (n, 119, 119), uint8, some with a wrong square."""
    probs = smooth_maps(MASKS)
    given = probs.argmax(1).to(torch.uint8).numpy()
    for row in np.flatnonzero(np.random.default_rng(0).random(MASKS) < WRONG):
        given[row, 40:70, 40:70] = 7
    return probs, given


def cleanlab_scores(given: np.ndarray, probs: np.ndarray) -> Any:
    """Return cleanlab's quality of each mask and of each pixel."""
    from cleanlab.segmentation.rank import get_label_quality_scores

    return get_label_quality_scores(given, probs, method="softmin", verbose=False)


def cleanlab_issues(given: np.ndarray, probs: np.ndarray) -> Any:
    """Return which pixels cleanlab finds, and its scores."""
    from cleanlab.segmentation.filter import find_label_issues as find

    return find(given, probs, downsample=1, n_jobs=1, verbose=False), cleanlab_scores(given, probs)


def _growth(folder: Path, by: str) -> int:
    """Return by how many bytes the peak of a new process grows while it ranks."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_rank, args=(folder, by, theirs))
    process.start()
    theirs.close()
    grown: int = ours.recv()
    process.join()
    return grown


def _rank(folder: Path, by: str, answer: Any) -> None:
    store = SoftLabelStore.open(folder)
    find_label_issues(store, top=1)  # what is imported on the way
    small = np.zeros((1, *MAP_SHAPE[1:]), np.int64), np.full((1, *MAP_SHAPE), 1 / MAP_SHAPE[0], np.float32)
    cleanlab_scores(*small)
    before = _reset_peak()
    if by == "store":
        find_label_issues(store)
    else:
        cleanlab_scores(np.stack(store.given()).astype(np.int64), store.evidence().numpy())
    answer.send(peak_memory() - before)


def _reset_peak() -> int:
    """Let the peak begin anew, where the kernel can (Linux), at what is held now, and return it, bytes."""
    forget = Path("/proc/self/clear_refs")
    if forget.exists():
        forget.write_text("5", encoding="ascii")  # proc(5): the peak is set to the present size
    return peak_memory()
