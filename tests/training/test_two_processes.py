"""Two ranks do what one does: same labels, same weights, whatever the recipe, augmented or not."""

import pytest
import torch
from shared import once
from spawn import run_processes
from tiny_runs import ONLINE, QUIET, Kill
from torch import nn
from torch.utils.data import Dataset

from noisycorrect import RECIPES, NeighborCorrection, OnlineCorrection, Schedule, SelfCorrector, SoftLabelStore
from noisycorrect.classification.methods import CoTeaching, DivideMix
from noisycorrect.correction.cross_fitting import CrossFitting
from noisycorrect.objective import EarlyLearning
from noisycorrect.support.errors import CheckpointError, InvalidInputError

LENGTHS = Schedule(init_epochs=2, cycles=2, cycle_epochs=1)
PAPER = RECIPES["paper"].replace(schedule=LENGTHS)
COUNT, CLASSES = 61, 3  # 61 = 5 batches of 12 and one sample over: ranks of different sizes


def data(unlabeled=0):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(COUNT, 4, generator=generator)
    labels = torch.randint(CLASSES, (COUNT,), generator=generator)
    return inputs.double(), torch.where(torch.arange(COUNT) < COUNT - unlabeled, labels, -1)


class Jittered(Dataset):
    """Samples that change from one reading to the next."""

    def __init__(self, inputs, labels):
        self.inputs, self.labels = inputs, labels

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index] + 0.3 * torch.randn(4, dtype=torch.float64), int(self.labels[index])


def noisy(inputs):
    """Augment a batch: a number a row, a number a value, one for all."""
    scale = 1 + 0.2 * torch.rand(len(inputs), 1, dtype=inputs.dtype)
    return nn.functional.dropout(inputs, 0.2) * scale + 0.1 * torch.randn_like(inputs) + 0.1 * torch.rand(1)


def network(norm):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        middle = nn.BatchNorm1d(8) if norm else nn.LayerNorm(8)
        return nn.Sequential(nn.Linear(4, 8), middle, nn.Tanh(), nn.Linear(8, CLASSES))


class Layers(nn.Module):
    """A network with a list of layers, which shards are gathered by, and one that is frozen."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.first = nn.Linear(4, 7).requires_grad_(False)
            self.layers = nn.ModuleList(nn.Sequential(nn.Linear(7, 7), nn.Tanh()) for _ in range(2))
            self.last = nn.Linear(7, CLASSES)

    def forward(self, inputs):
        hidden = self.first(inputs)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return self.last(hidden)


def fit(
    run_dir, *, norm=False, fail_after=None, unlabeled=0, recipe=PAPER, augment=None, workers=0, jitter=False, batch=12,
    layers=False, parallel="ddp",
):  # fmt: skip
    inputs, labels = data(unlabeled)
    corrector = SelfCorrector(
        (Layers() if layers else network(norm)).double(), num_classes=CLASSES, recipe=recipe, lr=0.1, batch_size=batch,
        run_dir=run_dir, callbacks=[QUIET, Kill(fail_after)], augment=augment, num_workers=workers, parallel=parallel,
    )  # fmt: skip
    train = Jittered(inputs, labels) if jitter else (inputs, labels)
    try:
        result = corrector.fit(train, (inputs, labels), clean_labels=labels, canonical=(inputs, labels))
    except KeyboardInterrupt:
        return None
    history = [{key: value for key, value in record.items() if key != "seconds"} for record in result.history]
    return result.model.state_dict(), result.labels.refined(), history


def assert_close(one, other):
    torch.testing.assert_close(one[0], other[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=1e-6)  # labels are stored in float32
    for first, second in zip(one[2], other[2], strict=True):
        assert first == pytest.approx(second, rel=1e-6, abs=1e-7, nan_ok=True)


def short(name, **parts):
    """Return a published recipe for two epochs."""
    return RECIPES[name].replace(epochs=2, **parts)


PUBLISHED = {
    **{name: {} for name in ("swa", "ema", "ls", "bootstrap-hard", "elr", "mixup", "sop", "gce", "sce", "forward")},
    "coteaching": {"objective": CoTeaching(noise_rate=0.3, warmup_epochs=1)},
    "dividemix": {"objective": DivideMix(augment=noisy, confidence_penalty=True)},
}
ROBUST = RECIPES["robust"].replace(schedule=LENGTHS, correction=NeighborCorrection(neighbors=7))
TWO_VIEWS = ONLINE.replace(
    schedule=LENGTHS, objective=EarlyLearning(consistency=0.5, strong_augment=noisy), correction=OnlineCorrection()
)
SHARDED = {"parallel": "fsdp", "layers": True, "recipe": ROBUST}
EQUAL = {
    "paper": {"unlabeled": 20},
    "evidence of every step, inputs dropped": {
        "unlabeled": 20,
        "recipe": ONLINE.replace(schedule=LENGTHS, correction=OnlineCorrection()),
    },
    "neighbors": {"unlabeled": 20, "recipe": ROBUST},
    "neighbors, augmented": {"unlabeled": 20, "recipe": ROBUST, "augment": noisy},
    "two views": {"recipe": TWO_VIEWS, "augment": noisy},
    "cross-fitting": {"recipe": ONLINE.replace(schedule=LENGTHS, correction=CrossFitting())},
    "augmented as it is read": {"jitter": True},
    "augmented by workers": {"jitter": True, "workers": 2},
    "a last batch of one a rank": {"batch": 59},
    **{name: {"recipe": short(name, **parts), "augment": noisy} for name, parts in PUBLISHED.items()},
    "in shards": {"parallel": "fsdp", "layers": True, "recipe": PAPER.replace(clip_grad_norm=0.5)},
    "in shards, every step": {**SHARDED, "augment": noisy},
    "in shards, no average": {"parallel": "fsdp", "recipe": short("ce", optimizer=torch.optim.AdamW)},
    "dividemix, unlabeled": {"recipe": short("dividemix"), "unlabeled": 20},
}
RESUMED = {"stop": {"norm": True, "fail_after": 6}, "go on": {"norm": True}}


def everything(folder):
    """Run all cases in one process group: starting processes takes longer than a run."""
    found = {name: fit(folder / name, **settings) for name, settings in EQUAL.items()}
    found["whole"] = fit(folder / "whole", norm=True)
    found["stopped"] = fit(folder / "stopped", norm=True, fail_after=3)
    found["resumed"] = fit(folder / "stopped", norm=True)
    found["stopped on two"] = fit(folder / "fewer", recipe=ROBUST, augment=noisy, fail_after=3)
    found["shards stopped"] = fit(folder / "shards", **SHARDED, fail_after=3)
    found["shards resumed"] = fit(folder / "shards", **SHARDED)
    with pytest.raises(CheckpointError, match="expected parallel='fsdp'"):
        fit(folder / "shards", **{**SHARDED, "parallel": "ddp"})
    with pytest.raises(InvalidInputError, match="a recipe of one network with parallel='fsdp'; got CoTeaching"):
        fit(folder / "twin", recipe=short("coteaching", **PUBLISHED["coteaching"]), parallel="fsdp")
    with pytest.raises(InvalidInputError, match="a run_dir; got None"):
        fit(None)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return once(tmp_path_factory, "ranks", lambda folder: run_processes(everything, 2, folder, folder, timeout=300))


@pytest.fixture(scope="module")
def folder(made):
    return made[0]


@pytest.fixture(scope="module")
def both(made):
    return made[1]


@pytest.mark.parametrize("name", EQUAL)
def test_two_ranks_equal_one(name, both, tmp_path):
    alone = fit(tmp_path / "alone", **EQUAL[name])
    for rank in both:
        assert_close(rank[name], alone)


def test_two_ranks_expect_the_rate_of_one(both):
    assert both[0]["neighbors"][2][-1]["expected_rate"] > 0.02


def test_the_store_of_two_ranks_is_whole(both, folder):
    store = SoftLabelStore.open(folder / "paper" / "labels")
    assert store.generations == (0, 1, 2)
    assert not list((folder / "paper" / "labels").glob("*.part"))


def test_two_ranks_with_batchnorm_agree_with_each_other_and_resume(both):
    assert_close(*(rank["whole"] for rank in both))
    for rank in both:
        assert rank["stopped"] is None
        assert_close(rank["resumed"], both[0]["whole"])


def test_a_run_in_shards_goes_on(both, tmp_path):
    whole = fit(tmp_path / "whole", layers=True, recipe=ROBUST)
    for rank in both:
        assert rank["shards stopped"] is None
        assert_close(rank["shards resumed"], whole)


def test_a_run_of_two_ranks_goes_on_with_one(both, folder, tmp_path):
    settings = {"recipe": ROBUST, "augment": noisy}
    assert both[0]["stopped on two"] is None
    assert_close(fit(folder / "fewer", **settings), fit(tmp_path / "whole", **settings))


def test_torchrun_without_a_process_group_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InvalidInputError, match=r"2 ranks that torchrun started; got none.*init_process_group"):
        fit(None)
