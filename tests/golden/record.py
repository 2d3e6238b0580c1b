"""A golden record of what runs give: `python tests/golden/record.py check` compares, `write` replaces the record.

It holds the redesign to what was there before: digests of the final weights, of the labels of every generation, and of
the history without times. It is no test of the suite, because digests of floats belong to one kind of machine.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1]), str(HERE)]


from noisycorrect_seg.classes import Classes  # noqa: E402

COUNT, FEATURES, CLASSES = 66, 5, 3
SHAPES = Classes("shapes", ("background", "left", "right"), ((1, 2),))
SIZE = (16, 12)


def vectors(unlabeled=0):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, FEATURES, generator=generator)
    clean = inputs[:, :CLASSES].argmax(1)
    given = torch.where(torch.rand(COUNT, generator=generator) < 0.3, (clean + 1) % CLASSES, clean)
    if unlabeled:
        given[-unlabeled:] = -1
    return inputs, given, clean


def mlp(batchnorm=True):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        middle = [nn.BatchNorm1d(12)] if batchnorm else []
        return nn.Sequential(
            nn.Linear(FEATURES, 12), *middle, nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 12), *middle[:0], nn.ReLU(),
            nn.Linear(12, CLASSES),
        )  # fmt: skip


class Squares:
    """A source of masks: two coloured squares on black; some are damaged, some missing."""

    classes = SHAPES

    def __init__(self, *, damaged=(), unlabeled=()):
        self.damaged, self.unlabeled = damaged, unlabeled

    def __len__(self):
        return 10

    def clean(self, index):
        mask = np.zeros((SIZE[0] + index % 3, SIZE[1] - index % 2), np.uint8)
        mask[3 : 9 + index % 3, 1:5] = 2
        mask[3 : 9 + index % 3, 7:11] = 1
        return mask

    def mask(self, index):
        if index in self.unlabeled:
            return None
        mask = self.clean(index)
        if index in self.damaged:
            mask[mask == 1] = 0
            mask[0, :2] = 255
        return mask

    def image(self, index):
        mask = self.clean(index)
        noise = np.random.default_rng(index).integers(0, 40, (*mask.shape, 3)).astype(np.uint8)
        return noise + np.stack([200 * (mask == 1), 200 * (mask == 2), 20 * mask], axis=2).astype(np.uint8)

    def name(self, index):
        return f"squares-{index}"


def convnet():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, len(SHAPES), 3, 1, 1))


# ---------------------------------------------------------------- digests


def digest(*tensors):
    found = hashlib.sha256()
    for tensor in tensors:
        array = np.ascontiguousarray(tensor.detach().cpu().numpy() if isinstance(tensor, torch.Tensor) else tensor)
        found.update(str((array.dtype, array.shape)).encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def summary(result):
    """Return digests of a result's weights, labels and history."""
    history = [
        {key: repr(float(value)) for key, value in sorted(record.items()) if key != "seconds"}
        for record in result.history
    ]
    found = {
        "weights": digest(*(value for value in result.model.state_dict().values())),
        "passes": result.sample_passes,
        "history": history,
    }
    if hasattr(result, "labels"):
        store = result.labels
        found["generations"] = {}
        for number in store.generations:
            refined, labels = store.refined(generation=number), store.labels(generation=number)
            each = [refined, labels] if isinstance(labels, np.ndarray) else [*refined, *labels]
            found["generations"][str(number)] = digest(*each)
    else:
        found["kept"], found["probs"] = digest(result.kept), digest(result.probs)
    return found


def main(command):
    import runs  # how the runs of this record are spelled in the present API

    torch.set_num_threads(1)
    path = HERE / "record.json"
    chosen = sys.argv[2:]
    found = {}
    for name, (run, options) in runs.table().items():
        if chosen and not any(part in name for part in chosen):
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                made = run(Path(folder), **options)
                found[name] = made if isinstance(made, dict) else summary(made)
        except Exception as error:
            if command == "write":
                raise
            found[name] = {"error": f"{type(error).__name__}: {error}"}
    if command == "write":
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        print(f"{len(found)} runs written")
        return 0
    expected = json.loads(path.read_text())
    wrong = 0
    for name in found:
        if found[name] != expected[name]:
            wrong += 1
            if "error" in found[name]:
                print(f"{name}: {found[name]['error']}")
                continue
            parts = [part for part in expected[name] if found[name].get(part) != expected[name][part]]
            print(f"{name}: {', '.join(parts)} differ")
            if "history" in parts:
                for one, other in zip(found[name]["history"], expected[name]["history"], strict=False):
                    for key in {**one, **other}:
                        if one.get(key) != other.get(key):
                            print(f"    {key}: {one.get(key)}, was {other.get(key)}")
                            break
                    else:
                        continue
                    break
    print(f"{len(found) - wrong} of {len(found)} runs as recorded ({len(expected)} in the record)")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
