"""Small cleaning runs: `from cleaning_runs import write_run`."""

import numpy as np
import torch
from PIL import Image

from noisycorrect import SoftLabelStore
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.review.report import noise_figures
from noisycorrect.review.session import Cleaning, Item, store_items, write_items

CLASSES = ("billing", "bug", "how-to")
EVIL = '<script>alert("x")</script>'


def items_of(count=12, **shown):
    """Return issues of rising quality: given billing, suggested bug; the last two are none, one of them unlabelled."""
    items = []
    for number in range(count):
        issue = number < count - 2
        items.append(
            Item(
                id=f"t{number}",
                given=None if number == count - 1 else "billing",
                suggested="bug" if issue else "billing",
                quality=(number + 1) / 100 if issue else 0.9,
                is_issue=issue,
                probs={"bug": 0.9, "billing": 0.1} if issue else {"billing": 0.9},
                votes={"anna": "billing", "bob": "bug"} if number % 2 else {"anna": "billing"},
                **{name: values[number] for name, values in shown.items()} or {"text": f"text {number} {EVIL}"},
            )
        )
    return items


def write_run(folder, items=None, *, kind="text", **header):
    """Write a run without labels of its own and return its folder."""
    about = {"source": "tickets.csv", "label": "label", "command": ["noisycorrect", "clean", "tickets.csv"], **header}
    write_items(folder, Cleaning(kind=kind, classes=CLASSES, **about), items_of() if items is None else items)
    return folder


def write_store_run(folder, count=200, seed=0):
    """Write a run with a label store in which a fifth of the labels is contradicted; return folder and store."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=count)
    given = np.where(np.arange(count) % 5 == 0, (truth + 1) % 3, truth)
    store = SoftLabelStore.create(folder / "labels", given, 3)
    evidence = 0.9 * np.eye(3)[truth] + 0.1 / 3
    with store.new_generation() as writer:
        writer.write(range(count), torch.from_numpy(evidence).float())
    figures = {"noise": noise_figures(estimate_store_noise(store), CLASSES), "seed": seed}
    texts = [f"text {number}" for number in range(count)]
    header = Cleaning(kind="text", classes=CLASSES, source="tickets.csv", label="label", figures=figures)
    write_items(folder, header, store_items(store, CLASSES, texts=texts))
    return folder, store


def write_mask_store(folder, count=3):
    """Write a label store of masks: given has class 2 where two squares of the evidence are of class 1."""
    given, evidence = [], torch.zeros(count, 3, 32, 48)
    for number in range(count):
        mask = np.zeros((32, 48), np.uint8)
        mask[4:14, 4:14], mask[18:28, 30:40] = 2, 2
        mask[0, 0] = 255
        given.append(mask)
        evidence[number, 0] = 1
        for rows, columns in ((slice(4, 14), slice(4, 14)), (slice(18, 28), slice(30, 40))):
            evidence[number, :, rows, columns] = 0
            evidence[number, 1, rows, columns] = 1
    store = SoftLabelStore.create(folder / "labels", given, 3, kind="segmentation")
    with store.new_generation(trust=torch.full((count,), 0.1)) as writer:
        writer.write(range(count), evidence)
    return store


def save_picture(path, colour=(200, 30, 30), size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path
