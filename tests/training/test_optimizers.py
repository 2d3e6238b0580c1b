"""Optimizers of other kinds than SGD and AdamW: they work in a run, or are refused by name."""

import pytest
import torch
from tiny_runs import CLASSES, PLAIN, SHORT, Kill, assert_equal_runs, blobs, corrector, network
from torch import nn
from torch.optim import SGD, AdamW, Muon, Optimizer, SparseAdam

from noisycorrect import AtCycleEnds, Callback, CyclicalLR, EveryStep, Schedule
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.training.several_optimizers import SeveralOptimizers

QUICK = SHORT.replace(schedule=Schedule(2, 2, 1))
INPUTS, GIVEN, _ = blobs(60)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def resumed(tmp_path, make, recipe=QUICK, **settings):
    """Return a run that was killed and went on, compared with one that was not."""
    whole = corrector(make(), recipe, run_dir=tmp_path / "whole", **settings).fit((INPUTS, GIVEN))
    more = settings.pop("callbacks", [])
    with pytest.raises(KeyboardInterrupt):
        corrector(make(), recipe, run_dir=tmp_path / "run", callbacks=[*more, Kill(3)], **settings).fit((INPUTS, GIVEN))
    result = corrector(make(), recipe, run_dir=tmp_path / "run", callbacks=more, **settings).fit((INPUTS, GIVEN))
    assert_equal_runs(result, whole)
    return whole


def moved(result, model):
    start = dict(model.named_parameters())
    return {name for name, value in result.model.named_parameters() if not torch.equal(value, start[name])}


# ---------------------------------------------------------------- several


def muon_and_adam(model, lr):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    return [Muon(matrices, lr=lr), AdamW([p for p in model.parameters() if p.dim() != 2], lr=lr / 10)]


def test_muon_for_matrices_and_another_for_the_rest(tmp_path):
    result = resumed(tmp_path, linear, optimizer=muon_and_adam, lr=0.02)
    assert moved(result, linear()) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_muon_alone_is_refused_with_what_it_says_and_how_to_use_it():
    with pytest.raises(InvalidInputError, match=r"Muon only supports 2D.*may return several optimizers in a list"):
        corrector(linear(), optimizer=Muon).fit((INPUTS, GIVEN))
    bare = nn.Sequential(nn.Linear(4, 8, bias=False), nn.Linear(8, CLASSES, bias=False))
    assert moved(corrector(bare, QUICK, optimizer=Muon, lr=0.02).fit((INPUTS, GIVEN)), bare) == {"0.weight", "1.weight"}


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.head = nn.EmbeddingBag(10, 6, sparse=True), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(self.words(x))


def test_sparse_gradients_have_an_optimizer_of_their_own():
    words = torch.randint(10, (60, 5), generator=torch.Generator().manual_seed(0))

    def both(model, lr):
        return [SparseAdam(model.words.parameters(), lr=lr), AdamW(model.head.parameters(), lr=lr)]

    model = Words()
    result = corrector(model, QUICK, optimizer=both).fit((words, GIVEN))
    assert moved(result, model) == {"words.weight", "head.weight", "head.bias"}
    with pytest.raises(InvalidInputError, match=r"steps by itself.*got SparseAdam: .*dense gradients.*in a list"):
        corrector(model, QUICK, optimizer=SparseAdam, lr=0.01).fit((words, GIVEN))
    with pytest.raises(InvalidInputError, match=r"steps by itself.*got AdamW: .*sparse gradients"):
        corrector(model, QUICK, optimizer=AdamW, lr=0.01).fit((words, GIVEN))


def test_each_of_two_networks_has_several():
    from noisycorrect import RECIPES
    from noisycorrect.classification import CoTeaching

    recipe = RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.3))
    model = linear()
    result = corrector(model, recipe, epochs=2, optimizer=muon_and_adam, lr=0.02).fit((INPUTS, GIVEN))
    assert not torch.equal(result.model.second[0].weight, model[0].weight)
    assert not torch.equal(result.model.first[0].bias, model[0].bias)


def test_several_as_one():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    both = SeveralOptimizers([SGD(one.parameters(), lr=0.1), AdamW(other.parameters(), lr=0.01)])
    both.optimizers[0].add_param_group({"params": [nn.Parameter(torch.zeros(1))], "lr": 3.0})
    assert [group["lr"] for group in both.param_groups] == [0.1, 0.01, 3.0]  # what came last is last
    with pytest.raises(InvalidInputError, match="a group for one of several"):
        both.add_param_group({"params": []})
    with pytest.raises(InvalidInputError, match="belongs to two of SGD, AdamW"):
        SeveralOptimizers([SGD(one.parameters(), lr=0.1), AdamW(one.parameters(), lr=0.01)])
    with pytest.raises(InvalidInputError, match="got SGD, str"):
        corrector(linear(), optimizer=lambda m, lr: [SGD(m, lr), "AdamW"]).fit((INPUTS, GIVEN))


# ---------------------------------------------------------------- steps that need more than a gradient


class Sharpness(SGD):
    """As SAM is written: it asks for a closure when it steps."""

    def step(self, closure=None):
        assert closure is not None, "Sharpness Aware Minimization requires closure"


class TwoSteps(SGD):
    def first_step(self, zero_grad=False):
        pass

    second_step = first_step


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (Sharpness, "got Sharpness: Sharpness Aware Minimization requires closure"),
        (TwoSteps, "needs no closure; got TwoSteps"),
        (torch.optim.LBFGS, "needs no closure; got LBFGS"),
    ],
)
def test_closures_are_refused_by_name(factory, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        corrector(linear(), QUICK, optimizer=factory, run_dir=tmp_path).fit((INPUTS, GIVEN))
    assert not (tmp_path / "checkpoint.pt").exists()


class ScheduleFree(Optimizer):
    """SGD of Defazio et al. 2024 ("The Road Less Scheduled", Eq. 5-7): trains at y, is good at the mean x."""

    def __init__(self, parameters, lr, beta=0.9):
        super().__init__(parameters, {"lr": lr, "beta": beta, "k": 0, "training": False})

    def _move(self, training):
        for group in self.param_groups:
            if group["training"] is training:
                continue
            group["training"] = training
            for p in group["params"]:
                if "z" in self.state[p]:
                    beta = group["beta"]
                    p.data.lerp_(self.state[p]["z"], 1 - beta if training else 1 - 1 / beta)

    def train(self):
        self._move(True)

    def eval(self):
        self._move(False)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if not group["training"]:
                raise RuntimeError("Optimizer was not in train mode when step is called")
            group["k"] += 1
            for p in group["params"]:
                if p.grad is None:
                    continue
                z = self.state[p].setdefault("z", p.clone())
                beta, c = group["beta"], 1 / group["k"]
                x = (p - (1 - beta) * z) / beta
                z.sub_(p.grad, alpha=group["lr"])
                x.lerp_(z, c)
                p.copy_(beta * x + (1 - beta) * z)


class SeesMode(Callback):
    def __init__(self):
        self.in_step, self.later, self.steps = set(), set(), []

    def on_batch_end(self, run, batch):
        self.in_step.add(run.optimizer.param_groups[0]["training"])

    def on_cycle_end(self, run):
        self.later.add(run.optimizer.param_groups[0]["training"])
        self.steps.append(run.optimizer.param_groups[0]["k"])


@pytest.mark.parametrize(
    ("average", "steps"), [(AtCycleEnds(), [0, 0, 0]), (EveryStep(0.9), [6, 9, 12]), (None, [6, 9, 12])]
)
def test_schedule_free_optimizers_are_told_when_they_train(average, steps, tmp_path):
    seen = SeesMode()
    recipe = QUICK.replace(average=average, correction=None if average is None else QUICK.correction)
    model = linear()
    result = corrector(model, recipe, optimizer=ScheduleFree, callbacks=[seen]).fit((INPUTS, GIVEN))
    assert (seen.in_step, seen.later, seen.steps) == ({True}, {False}, steps)
    assert len(moved(result, model)) == 4
    resumed(tmp_path, linear, recipe, optimizer=ScheduleFree)


# ---------------------------------------------------------------- groups that come later


class Thaws(Callback):
    """Lets the first layer train, too, at a rate of its own, after an epoch."""

    def on_epoch_end(self, run):
        if run.epoch == 1:
            first = run.student[0].requires_grad_(True)
            run.optimizer.add_param_group({"params": list(first.parameters()), "lr": 0.01})


def half_frozen():
    model = linear()
    model[0].requires_grad_(False)
    return model


def head_only(model, lr):
    return SGD(model[2].parameters(), lr=lr, momentum=0.9)


class Rates(Callback):
    def __init__(self):
        self.seen = []

    def on_batch_end(self, run, batch):
        self.seen.append([group["lr"] for group in run.optimizer.param_groups])


def test_a_group_that_is_added_trains_at_its_own_rate_and_a_run_goes_on_with_it(tmp_path):
    rates = Rates()
    settings = {"optimizer": head_only, "callbacks": [Thaws(), rates]}
    result = resumed(tmp_path, half_frozen, **settings)
    assert moved(result, half_frozen()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    later = [each for each in rates.seen if len(each) == 2]
    assert len(later) > 6
    for head, first in later:
        assert first == pytest.approx(head / 10, rel=1e-9)


class AddsAnother(Callback):
    def on_epoch_end(self, run):
        run.optimizer.add_param_group({"params": list(linear().parameters())})


def test_a_group_of_another_model_is_an_error():
    with pytest.raises(InvalidInputError, match="parameters of another model"):
        corrector(linear(), QUICK, callbacks=[AddsAnother()]).fit((INPUTS, GIVEN))


def test_a_scheduler_takes_in_groups():
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    optimizer = SGD(one.parameters(), lr=0.1)
    scheduler = CyclicalLR(optimizer, warmup_epochs=0, init_epochs=4, cycle_epochs=2, cycle_lr=0.05, min_lr=0.01)
    scheduler.step(1.0)
    optimizer.add_param_group({"params": other.parameters(), "lr": 1.0})
    for epoch in (2.0, 4.0, 5.0):
        scheduler.step(epoch)
        first, second = scheduler.get_last_lr()
        assert second == pytest.approx(10 * first)


# ---------------------------------------------------------------- parameters


def test_what_does_not_train_is_found_before_the_first_epoch(tmp_path):
    frozen = network().requires_grad_(False)
    with pytest.raises(InvalidInputError, match="a parameter to train; got 6 parameters, all of them frozen"):
        corrector(frozen, run_dir=tmp_path).fit((INPUTS, GIVEN))
    with pytest.raises(InvalidInputError, match="a parameter to train; got a network without parameters"):
        corrector(nn.Flatten()).fit((INPUTS[:, :3], GIVEN))
    model = linear()
    model[0].requires_grad_(False)
    with pytest.raises(InvalidInputError, match="some parameter that trains; got frozen ones alone"):
        corrector(model, optimizer=lambda model, lr: SGD(model[0].parameters(), lr=lr)).fit((INPUTS, GIVEN))


class MadeLate(nn.Module):
    """Makes a layer when it is first called."""

    def __init__(self, *, anew=False):
        super().__init__()
        self.first, self.anew = nn.Linear(4, 8), anew

    def forward(self, x):
        if self.anew and self.training:
            self.first.weight = nn.Parameter(self.first.weight.detach().clone())
        elif not self.anew and not hasattr(self, "head"):
            self.head = nn.Linear(8, CLASSES)
        return self.first(x)[:, :CLASSES] if self.anew else self.head(self.first(x))


@pytest.mark.parametrize(
    ("anew", "message"),
    [(False, r"'head.weight', which a call of the model made"), (True, "'first.weight', which was made anew")],
)
def test_parameters_that_no_optimizer_has(anew, message):
    with pytest.raises(InvalidInputError, match=f"has its parameters before training; got {message}"):
        corrector(MadeLate(anew=anew), PLAIN).fit((INPUTS, GIVEN))
    if not anew:
        model = MadeLate()
        model(INPUTS[:2])
        assert len(moved(corrector(model, PLAIN).fit((INPUTS, GIVEN)), model)) == 4


def test_lazy_layers_are_refused_until_they_have_been_called():
    model = nn.Sequential(nn.LazyLinear(8), nn.Linear(8, CLASSES))
    with pytest.raises(InvalidInputError, match="call the model once"):
        corrector(model).fit((INPUTS, GIVEN))
    model(INPUTS[:2])
    assert len(moved(corrector(model, QUICK).fit((INPUTS, GIVEN)), model)) == 4


def test_several_are_not_resumed_as_others(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        corrector(linear(), QUICK, optimizer=muon_and_adam, run_dir=tmp_path, callbacks=[Kill(2)]).fit((INPUTS, GIVEN))
    with pytest.raises(CheckpointError, match="optimizer="):
        corrector(linear(), QUICK, optimizer=AdamW, run_dir=tmp_path).fit((INPUTS, GIVEN))
