"""Run lengths of masks as COCO, CVAT and Label Studio write them."""

from __future__ import annotations

import numpy as np

# Label Studio's: 8 bits a word; a run's length takes as many bits as one of these says.
WORD_BITS, RUN_BITS = 8, (3, 4, 8, 16)


def run_lengths(flat: np.ndarray) -> np.ndarray:
    """Return the lengths of the runs of a flat mask, int64, in turn of False and True; the first is of False.

    Examples
    --------
    >>> run_lengths(np.array([True, True, False])).tolist()
    [0, 2, 1]
    """
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [len(flat)]])
    lengths = np.diff(bounds)
    return np.concatenate([[0], lengths]) if len(flat) and flat[0] else lengths


def coco_counts(mask: np.ndarray) -> str:
    """Return the compressed run lengths of a mask, bool (H, W): ``counts`` of COCO's RLE.

    Runs go down the columns. From the third on a length is written as its difference to the one but one before; each
    number in groups of five bits, the lowest first, with a sixth that says whether more follow, as characters from "0"
    on; see rleToString in COCO's maskApi.c.

    Examples
    --------
    >>> coco_counts(np.array([[0, 1, 1], [0, 1, 0]], bool))
    '231'
    """
    counts = run_lengths(np.asarray(mask, bool).ravel(order="F"))
    values = counts.copy()
    values[3:] -= counts[1:-2]
    # A number takes as many groups as its sign fits into: 5 n bits hold -2^(5n-1) up to 2^(5n-1) - 1.
    size = np.where(values < 0, ~values, values)
    groups = 1 + (size[:, None] >= 1 << (5 * np.arange(1, 8) - 1)).sum(1)
    which = np.repeat(np.arange(len(values)), groups)
    place = np.arange(len(which)) - np.repeat(np.cumsum(groups) - groups, groups)
    bits = (values[which] >> (5 * place)) & 31
    more = place < groups[which] - 1
    characters: np.ndarray = (bits + 32 * more + 48).astype(np.uint8)
    return characters.tobytes().decode("ascii")


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the smallest box around a mask, bool (H, W), that is not empty.

    Examples
    --------
    >>> box(np.array([[0, 0, 0], [0, 1, 1]], bool))
    (1, 1, 2, 1)
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def label_studio_rle(mask: np.ndarray) -> list[int]:
    """Return the bytes in which Label Studio packs a mask, bool (H, W), as the four channels of its pixels, 0 or 255.

    A stream of bits: how many values follow (32), bits a value less one (5), four sizes less one (4 each); then each
    run as a 1, the number of its size (2), its length less one in so many bits, and its value (8). The last byte is
    filled up with zeros. This is thi.ng's rle-pack without runs of different values.

    Examples
    --------
    >>> len(label_studio_rle(np.zeros((4, 4), bool)))
    9
    """
    flat = np.asarray(mask, bool).ravel()
    lengths = 4 * run_lengths(flat)
    longest = 1 << RUN_BITS[-1]
    pieces = -(-lengths // longest)  # none of a run without length
    values = np.repeat(np.arange(len(lengths)) % 2, pieces)
    runs = np.full(len(values), longest)
    ends = np.cumsum(pieces)[lengths > 0] - 1
    runs[ends] = (lengths - (pieces - 1) * longest)[lengths > 0]
    size = np.searchsorted([1 << bits for bits in RUN_BITS], runs)
    width = np.array(RUN_BITS)[size]
    head = [(4 * len(flat), 32), (WORD_BITS - 1, 5), *((bits - 1, 4) for bits in RUN_BITS)]
    # A run as one number: 1, size, length - 1, value.
    code = ((((4 + size) << width) + runs - 1) << WORD_BITS) + 255 * values
    numbers = np.concatenate([[number for number, _ in head], code]).astype(np.int64)
    widths = np.concatenate([[bits for _, bits in head], 3 + width + WORD_BITS]).astype(np.int64)
    which = np.repeat(np.arange(len(widths)), widths)
    place = np.cumsum(widths)[which] - np.arange(len(which)) - 1
    bits = (numbers[which] >> place) & 1
    packed: list[int] = np.packbits(bits.astype(np.uint8)).tolist()
    return packed
