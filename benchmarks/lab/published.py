"""What papers report, to stand beside our rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Self-correction for human parsing: validation mIoU of the real LIP, in %.
LIP_SOURCE = "Li et al., arXiv:1910.09777: LIP val, 30,462 training images, 473x473, ResNet-101, 150 epochs, mIoU in %"

# Table 4: what averaging the weights (MA) and refining the labels (LR) add to A-CE2P.
TABLE_4 = {"none": 56.88, "ma": 56.88 + 1.06, "lr": 56.88 + 0.56, "both": 56.88 + 1.74}
# Table 3: the terms of the objective, one after the other; the last row is the first of Table 4.
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


CIFAR10N_SOURCE = "recomputed from the per-epoch logs of KlemenVovk/noisy-labels (ReScience C 2026)"


@dataclass(frozen=True)
class Published:
    """Mean test accuracy of the last epoch over 3 seeds, in %, of a method in its own authors' setting.

    Attributes
    ----------
    network : str or None
        What was trained; None where the source of these figures does not say.
    cost : tuple of float
        Least and most compute of an epoch, of an epoch of cross-entropy.
    accuracy : dict of str to float
        By set of labels.
    """

    method: str
    network: str | None
    networks: int
    epochs: int
    cost: tuple[float, float]
    accuracy: dict[str, float]


def _published(method: str, network: str | None, networks: int, epochs: int, cost: Any, *scores: float) -> Published:
    return Published(
        method, network, networks, epochs, cost, dict(zip(("aggregate", "random1", "worst"), scores, strict=True))
    )


#: Source: :data:`CIFAR10N_SOURCE`; the last epoch, not the best one on test data.
CIFAR10N = (
    _published("CE", "ResNet-34", 1, 100, (1, 1), 86.6, 82.0, 68.3),
    _published("ELR", "ResNet-34", 1, 120, (1, 1), 92.9, 92.1, 87.8),
    _published("SOP", "ResNet-34", 1, 120, (1, 1), 91.6, 89.7, 82.9),
    _published("CAL", "ResNet-34", 1, 165, (1, 1), 90.3, 89.0, 82.3),
    _published("SOP+", "PreAct ResNet-18", 1, 300, (2, 2), 96.0, 95.6, 92.7),
    _published("Co-teaching", None, 2, 200, (2, 2), 91.8, 90.4, 73.6),
    _published("ELR+", "PreAct ResNet-18", 2, 400, (4, 4), 95.1, 94.7, 91.3),
    _published("DivideMix", None, 2, 300, (3, 11), 95.3, 95.5, 92.5),
)
