"""What the paper reports (arXiv:1910.09777), to stand beside our rows: validation mIoU of the real LIP, in %."""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "Li et al., arXiv:1910.09777: LIP val, 30,462 training images, 473x473, ResNet-101, 150 epochs, mIoU in %"

# Table 4: what averaging the weights (MA) and refining the labels (LR) add to A-CE2P.
TABLE_4 = {"none": 56.88, "ma": 56.88 + 1.06, "lr": 56.88 + 0.56, "both": 56.88 + 1.74}
# Table 3: the terms of the loss, one after the other; the last row is the first of Table 4.
TABLE_3 = {"ce": 53.75, "ce+edge": 54.14, "ce+edge+iou": 56.33, "ce+edge+iou+consistency": 56.88}

# Figures 5a, 5b (backbones, contexts) and 6 (cycles) are drawn: nobody has read numbers off them, so there are none.
TABLES: dict[str, tuple[str, Mapping[str, float]]] = {
    "correction": ("Table 4", TABLE_4),
    "losses": ("Table 3", TABLE_3),
    "cycles": ("Table 4", TABLE_4),
}


def paper_miou(study: str, row: str) -> float | None:
    """Return the paper's mIoU for a row of a study, in %; None where the paper gives no number.

    Examples
    --------
    >>> paper_miou("correction", "both"), paper_miou("backbones", "resnet18, none")
    (58.62, None)
    """
    value = TABLES.get(study, ("", {}))[1].get(row)
    return None if value is None else round(value, 2)


def paper_table(study: str) -> str | None:
    """Return which table of the paper a study's reference numbers come from; None without numbers.

    Examples
    --------
    >>> paper_table("losses"), paper_table("context")
    ('Table 3', None)
    """
    return TABLES[study][0] if study in TABLES else None
