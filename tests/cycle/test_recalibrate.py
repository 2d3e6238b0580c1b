from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from spawn import run_processes
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, TensorDataset

from noisycorrect.cycle import recalibrate
from noisycorrect.cycle.recalibrate import recalibrate_batchnorm
from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

Statistics = list[tuple[torch.Tensor, torch.Tensor]]
METHODS = ["fast", "exact"]


# --- networks and oracles


def norms(model: nn.Module) -> list[_BatchNorm]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def statistics(model: nn.Module) -> Statistics:
    return [(layer.running_mean.double().clone(), layer.running_var.double().clone()) for layer in norms(model)]


def conv_net(seed: int, width: int = 16) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, stride=2),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, stride=2),
        nn.BatchNorm2d(width),
    )


def line_net(dimensions: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    """A net whose convolutions have `dimensions` positions (0: linear layers)."""
    torch.manual_seed(dimensions)
    conv = {0: nn.Linear, 1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
    extra = (1,) if dimensions else ()
    return nn.Sequential(
        norm(3), conv(3, 5, *extra), norm(5), nn.ReLU(), nn.Dropout(0.5), conv(5, 4, *extra), nn.Tanh(), norm(4)
    )


def images(seed: int, count: int, class_sorted: bool = False) -> torch.Tensor:
    """Ten classes with means of their own, as real classes have."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(0, 10, (count,), generator=generator)
    if class_sorted:
        classes = classes.sort().values
    means = torch.randn(10, 3, 12, 12, generator=generator) + 2 * torch.randn(10, 3, 1, 1, generator=generator)
    return means[classes] / 2 + torch.randn(count, 3, 12, 12, generator=generator)


@torch.no_grad()
def oracle(model: nn.Sequential, data: torch.Tensor) -> Statistics:
    """All data at once through a float64 copy, layer by layer."""
    model = copy.deepcopy(model).double().eval()
    for layer in model:
        if isinstance(layer, _BatchNorm):
            axes = [0, *range(2, data.dim())]
            variance, mean = torch.var_mean(data.double(), axes, correction=0)
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)
        data = layer(data.double())
    return statistics(model)


def largest_error(found: Statistics, wanted: Statistics) -> float:
    """Of the variance, relative; of the mean, relative to the root of the mean square."""
    assert len(found) == len(wanted)
    worst = 0.0
    for (mean, variance), (true_mean, true_variance) in zip(found, wanted, strict=True):
        scale = (true_mean.square() + true_variance).sqrt()
        worst = max(worst, ((variance - true_variance) / true_variance).abs().max().item())
        worst = max(worst, ((mean - true_mean) / scale).abs().max().item())
    return worst


def variance_errors(found: Statistics, wanted: Statistics) -> list[float]:
    return [
        ((variance - true) / true).abs().max().item() for (_, variance), (_, true) in zip(found, wanted, strict=True)
    ]


# --- accuracy


@pytest.mark.parametrize(
    ("dimensions", "norm"),
    [(0, nn.BatchNorm1d), (1, nn.BatchNorm1d), (2, nn.BatchNorm2d), (3, nn.BatchNorm3d), (2, nn.SyncBatchNorm)],
)
@pytest.mark.parametrize("last", [1, 5])
def test_exact_matches_the_oracle(dimensions: int, norm: Callable[[int], nn.Module], last: int) -> None:
    model = line_net(dimensions, norm)
    data = torch.randn(32 + last, 3, *[4] * dimensions) * 3 + 1
    assert recalibrate_batchnorm(model, data.split(8), method="exact") == 3
    assert largest_error(statistics(model), oracle(model, data)) <= 1e-6
    assert [int(layer.num_batches_tracked) for layer in norms(model)] == [5, 5, 5]


@pytest.mark.parametrize("class_sorted", [False, True])
def test_exact_does_not_mind_the_order(class_sorted: bool) -> None:
    model, data = conv_net(0), images(0, 130, class_sorted)
    recalibrate_batchnorm(model, data.split(64), method="exact")
    assert largest_error(statistics(model), oracle(model, data)) <= 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_mean_of_5000_deviations_costs_no_digits(method: str) -> None:
    model = nn.Sequential(nn.BatchNorm1d(4))
    data = torch.randn(1001, 4) + 5000
    recalibrate_batchnorm(model, data.split(64), method=method)
    assert largest_error(statistics(model), oracle(model, data)) <= 1e-6


def test_statistics_are_those_of_the_network_at_inference() -> None:
    # Behind such a layer float32 activations carry its rounding: a float64 copy of the network is no oracle for them.
    model = line_net(2, nn.BatchNorm2d)
    data = torch.randn(37, 3, 4, 4) + 5000
    nn.init.constant_(model[1].bias, 3000.0)
    recalibrate_batchnorm(model, data.split(8), method="exact")
    model.eval()
    seen: dict[nn.Module, list[torch.Tensor]] = {layer: [] for layer in norms(model)}
    for layer in seen:
        layer.register_forward_pre_hook(lambda module, args: seen[module].append(args[0].double()))
    with torch.no_grad():
        for batch in data.split(8):
            model(batch)
    wanted = []
    for parts in seen.values():
        variance, mean = torch.var_mean(torch.cat(parts), (0, 2, 3), correction=0)
        wanted.append((mean, variance))
    assert largest_error(statistics(model), wanted) <= 1e-6


def update_bn(model: nn.Module, batches: Any) -> None:
    torch.optim.swa_utils.update_bn(batches, model)


@pytest.mark.parametrize(("count", "size"), [(130, 64), (514, 32), (514, 8)])
@pytest.mark.parametrize("seed", [0, 1])
def test_fast_is_more_accurate_than_update_bn(count: int, size: int, seed: int) -> None:
    ours, theirs, data = conv_net(seed), conv_net(seed), images(seed, count)
    wanted = oracle(ours, data)
    recalibrate_batchnorm(ours, data.split(size))
    update_bn(theirs, data.split(size))
    our_errors = variance_errors(statistics(ours), wanted)
    their_errors = variance_errors(statistics(theirs), wanted)
    assert our_errors[0] <= 1e-6
    assert max(our_errors) <= 0.05
    assert all(our < their for our, their in zip(our_errors, their_errors, strict=True))
    assert largest_error(statistics(ours), wanted) < largest_error(statistics(theirs), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_batches_of_one_sample(method: str) -> None:
    model, data = line_net(0, nn.BatchNorm1d), torch.randn(64, 3)
    recalibrate_batchnorm(model, data.split(1), method=method)
    assert largest_error(statistics(model), oracle(model, data)) <= (1e-6 if method == "exact" else 0.5)
    recalibrate_batchnorm(model, [torch.zeros(0, 3), data[:3], torch.zeros(0, 3), data[3:]], method="exact")
    assert largest_error(statistics(model), oracle(model, data)) <= 1e-6


class Branches(nn.Module):
    """Registered in another order than executed, and one encoder used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.BatchNorm1d(4)
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.unused = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(input=self.encoder(x) - self.encoder(x.flip(1)).relu())


def test_exact_pools_the_calls_of_a_shared_layer() -> None:
    torch.manual_seed(0)
    model, data = Branches(), torch.randn(41, 3)
    before = model.unused.running_var.clone()
    with pytest.warns(UserWarning, match="keep their statistics: unused$"):
        assert recalibrate_batchnorm(model, data.split(16), method="exact") == 3
    assert torch.equal(model.unused.running_var, before)
    wanted = oracle(model.encoder, torch.cat([data, data.flip(1)]))
    assert largest_error(statistics(model.encoder), wanted) <= 1e-6
    assert int(model.encoder[1].num_batches_tracked) == 6
    twin = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        last = twin.encoder(data.double()) - twin.encoder(data.double().flip(1)).relu()
    torch.testing.assert_close(model.head.running_var.double(), last.var(0, correction=0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("of_inputs", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_inputs_of_any_floating_dtype(method: str, of_inputs: torch.dtype) -> None:
    data = torch.arange(6).reshape(3, 2).to(of_inputs)
    for layer in (nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False)):
        recalibrate_batchnorm(nn.Sequential(layer), [data], method=method)
        assert layer.running_mean.tolist() == [2, 3]
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2))
    nn.init.eye_(model[0].weight)
    recalibrate_batchnorm(model, [(data, "labels")], method=method)
    assert model[1].running_mean.tolist() == [2, 3]


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_and_channels_last(method: str) -> None:
    model = conv_net(0).bfloat16().to(memory_format=torch.channels_last)
    data = images(0, 50).bfloat16().to(memory_format=torch.channels_last)
    recalibrate_batchnorm(model, data.split(16), method=method)
    first = model[0](data).double()
    wanted = first.var((0, 2, 3), correction=0).detach()
    torch.testing.assert_close(model[1].running_var.double(), wanted, rtol=1e-2, atol=0)
    assert model[1].running_var.dtype == torch.bfloat16


# --- what is put back


class Breaks(nn.Module):
    """Raises on its nth call."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.left = call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("out of memory")
        return x


def snapshot(model: nn.Module) -> dict[str, Any]:
    hooks = {
        name: [list(getattr(module, kind).values()) for kind in ("_forward_pre_hooks", "_forward_hooks")]
        for name, module in model.named_modules()
    }
    return {
        "modes": {name: module.training for name, module in model.named_modules()},
        "momenta": [layer.momentum for layer in norms(model)],
        "hooks": hooks,
        "kwargs hooks": [list(layer._forward_pre_hooks_with_kwargs) for layer in norms(model)],
        "gradients": {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()},
    }


def mixed_model(breaks_at: int) -> nn.Sequential:
    model = line_net(0, nn.BatchNorm1d)
    model.append(nn.BatchNorm1d(4, track_running_stats=False))
    model.insert(5, Breaks(breaks_at))
    model.train()
    norms(model)[1].eval()
    norms(model)[0].momentum = None
    norms(model)[2].momentum = 0.3
    model[1].weight.requires_grad_(False)
    model[1].register_forward_hook(lambda module, args, output: None)
    norms(model)[0].register_forward_pre_hook(lambda module, args: None)
    return model


@pytest.mark.parametrize("method", METHODS)
def test_everything_but_the_statistics_is_put_back(method: str) -> None:
    model, data = mixed_model(-1), torch.randn(20, 3)
    weights = {name: p.clone() for name, p in model.named_parameters()}
    before, buffers = snapshot(model), [norms(model)[0].running_mean, norms(model)[0].running_var]
    assert recalibrate_batchnorm(model, data.split(8), method=method) == 3
    assert snapshot(model) == before
    assert norms(model)[0].running_mean is buffers[0]
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert not norms(model)[2].running_var.requires_grad


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("breaks_at", [2, 4])
def test_an_exception_puts_the_statistics_back_too(method: str, breaks_at: int) -> None:
    model, data = mixed_model(breaks_at), torch.randn(40, 3)
    before = snapshot(model)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidInputError, match="out of memory"):
        recalibrate_batchnorm(model, data.split(8), method=method)
    assert snapshot(model) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", METHODS)
def test_dropout_is_off_and_no_gradient_is_kept(method: str) -> None:
    model, data = line_net(0, nn.BatchNorm1d), torch.randn(33, 3)
    outputs = []
    model[3].register_forward_hook(lambda module, args, output: outputs.append((output, args[0].requires_grad)))
    model[4].register_forward_hook(lambda module, args, output: outputs.append((output, torch.is_grad_enabled())))
    recalibrate_batchnorm(model, data.split(8), method=method)
    assert outputs
    assert not any(flag or output.requires_grad for output, flag in outputs)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(outputs[::2], outputs[1::2], strict=False))


@pytest.mark.parametrize("method", METHODS)
def test_nan_names_the_layer(method: str) -> None:
    model, data = line_net(0, nn.BatchNorm1d), torch.randn(20, 3)
    model[1].weight.data[2, 0] = float("inf")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidInputError, match="BatchNorm layer '2'; got NaN or infinity in channel 2"):
        recalibrate_batchnorm(model, data.split(8), method=method)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_statistics_too_large_for_the_buffer() -> None:
    model = nn.Sequential(nn.BatchNorm1d(1).half())
    with pytest.raises(InvalidInputError, match="layer '0' within the range of its buffers; got a mean of 0"):
        recalibrate_batchnorm(model, [torch.tensor([[-6e4], [6e4]]).half()])


# --- batches and wrappers


@dataclass(frozen=True)
class Batch:
    index: torch.Tensor
    input: torch.Tensor
    generation: int = 0


class Pair(NamedTuple):
    input: torch.Tensor
    label: torch.Tensor


FORMS: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda x: x,
    "tuple": lambda x: (x, torch.zeros(len(x))),
    "list": lambda x: [x, torch.zeros(())],
    "dict": lambda x: {"index": torch.arange(len(x)), "image": x},
    "dataclass": lambda x: Batch(torch.arange(len(x)), x),
    "namedtuple": lambda x: Pair(x, torch.zeros(len(x))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limit", [None, 16, 19, 100])
def test_forms_of_batches_and_max_samples(form: str, method: str, limit: int | None) -> None:
    model, data = nn.Sequential(nn.BatchNorm1d(3)), torch.randn(29, 3)
    batches = [FORMS[form](part) for part in data.split(8)]
    recalibrate_batchnorm(model, batches, method=method, max_samples=limit)
    assert largest_error(statistics(model), oracle(model, data[:limit])) <= 1e-6
    assert int(model[0].num_batches_tracked) == {16: 2, 19: 3}.get(limit or 0, 4)


def test_max_samples_asks_for_no_batch_too_many() -> None:
    asked = []

    def batches() -> Iterator[torch.Tensor]:
        for number in range(4):
            asked.append(number)
            yield torch.randn(8, 3)

    recalibrate_batchnorm(nn.BatchNorm1d(3), batches(), max_samples=16)
    assert asked == [0, 1]


def test_forward_for_batches_of_another_form() -> None:
    model, data = nn.Sequential(nn.BatchNorm1d(3)), torch.randn(29, 3)
    batches = [{"pixels": part} for part in data.split(8)]
    recalibrate_batchnorm(model, batches, forward=lambda model, batch: model(batch["pixels"]), max_samples=11)
    assert largest_error(statistics(model), oracle(model, data[:11])) <= 1e-6


def test_a_shuffling_loader_is_left_as_it_is() -> None:
    model, data = conv_net(0), images(0, 65)
    loader = DataLoader(TensorDataset(data, torch.zeros(65)), batch_size=16, shuffle=True)
    sampler = loader.sampler
    recalibrate_batchnorm(model, loader, method="exact")
    assert loader.sampler is sampler
    assert largest_error(statistics(model), oracle(model, data)) <= 1e-6


def test_a_model_without_batchnorm_runs_nothing() -> None:
    model = nn.Sequential(Breaks(1), nn.BatchNorm1d(3, track_running_stats=False), nn.GroupNorm(1, 3))
    assert recalibrate_batchnorm(model, [torch.randn(2, 3)]) == 0


@pytest.mark.parametrize("method", METHODS)
def test_compiled_and_data_parallel_models(method: str) -> None:
    plain, data = line_net(0, nn.BatchNorm1d), torch.randn(33, 3)
    whole, part, parallel = (copy.deepcopy(plain) for _ in range(3))
    for model in (whole, part):
        model.eval()
    compiled = torch.compile(whole, backend="eager")
    part[1].compile(backend="eager")
    part[2].compile(backend="eager")
    with torch.no_grad():
        compiled(data)
        part(data)
    recalibrate_batchnorm(plain, data.split(8), method=method)
    recalibrate_batchnorm(compiled, data.split(8), method=method)
    recalibrate_batchnorm(part, data.split(8), method=method)
    recalibrate_batchnorm(nn.DataParallel(parallel), data.split(8), method=method)
    for model in (whole, part, parallel):
        assert largest_error(statistics(model), statistics(plain)) == 0


# --- bad input


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([], {}, "at least one batch; got none"),
        ([], {"method": "exact"}, "at least one batch; got none"),
        (iter([torch.zeros(2, 3)]), {"method": "exact"}, "the iterator list_iterator; to fix: pass the DataLoader"),
        (5, {}, "an iterable of batches; got int"),
        ([torch.zeros(2, 3)], {"method": "exakt"}, "did you mean 'exact'"),
        ([torch.zeros(2, 3)], {"max_samples": 0}, "max_samples to be a whole number >= 1; got 0"),
        ([torch.zeros(2, 3)], {"max_samples": True}, "max_samples to be a whole number >= 1; got True"),
        ([{"pixels": 1}], {}, r"got a mapping with the keys \['pixels'\]; to fix: pass forward="),
        (["text"], {}, "got a str; to fix: pass forward="),
        ([object()], {"max_samples": 3}, "with max_samples, a batch that is a tensor .* got a object"),
    ],
)
def test_bad_input(batches: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        recalibrate_batchnorm(nn.Sequential(nn.BatchNorm1d(3)), batches, **options)


def test_a_lazy_layer_is_named() -> None:
    with pytest.raises(InvalidInputError, match="got the lazy '0'; to fix: run the model on one batch"):
        recalibrate_batchnorm(nn.Sequential(nn.LazyBatchNorm1d()), [torch.zeros(2, 3)])


class Once:
    """Iterable, but only once."""

    def __init__(self, batches: list[torch.Tensor]) -> None:
        self.batches = iter(batches)

    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from self.batches


def test_batches_that_run_out_between_passes() -> None:
    model = line_net(0, nn.BatchNorm1d)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidInputError, match="batches that reach '2' in every pass; got none in a later pass"):
        recalibrate_batchnorm(model, Once(list(torch.randn(20, 3).split(8))), method="exact")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# --- two processes


def _recalibrate_shard(data: torch.Tensor, limit: int | None) -> dict[str, Statistics]:
    own = distributed.shard(len(data))
    found = {}
    for method in METHODS:
        model = conv_net(0, width=4)
        parallel = nn.parallel.DistributedDataParallel(model)
        recalibrate_batchnorm(parallel, data[own.start : own.stop].split(8), method=method, max_samples=limit)
        found[method] = statistics(model)
    empty = nn.Sequential(nn.BatchNorm2d(3))
    recalibrate_batchnorm(empty, [data] if distributed.is_main() else [], method="exact")
    found["one rank empty"] = statistics(empty)
    broken = nn.Sequential(nn.BatchNorm2d(3))
    try:
        recalibrate_batchnorm(broken, [data * float("nan")] if distributed.is_main() else [data])
    except NoisyCorrectError:
        found["broken"] = statistics(broken)
    return found


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    data = images(0, 61)
    wanted = oracle(conv_net(0, width=4), data)
    first, second = run_processes(_recalibrate_shard, 2, tmp_path, data, None)
    for found in (first, second):
        assert largest_error(found["exact"], wanted) <= 1e-6
        assert largest_error(found["fast"], wanted) <= 0.1
        assert largest_error(found["fast"][:1], wanted[:1]) <= 1e-6
        assert largest_error(found["one rank empty"], oracle(nn.Sequential(nn.BatchNorm2d(3)), data)) <= 1e-6
        assert torch.equal(found["broken"][0][1], torch.ones(3, dtype=torch.float64))
    for method in METHODS:
        assert largest_error(first[method], second[method]) == 0


# --- the table in the docstring: python tests/cycle/test_recalibrate.py


def _measure(recipe: Callable[[nn.Module, Any], object], count: int, size: int, class_sorted: bool) -> list[float]:
    errors = []
    for seed in range(4):
        model, data = conv_net(seed), images(seed, count, class_sorted)
        wanted = oracle(model, data)
        recipe(model, data.split(size))
        errors.append(variance_errors(statistics(model), wanted))
    return torch.tensor(errors).log().mean(0).exp().tolist()


def _with_power(power: float) -> Callable[[nn.Module, Any], object]:
    def recipe(model: nn.Module, batches: Any) -> None:
        kept, recalibrate._WINDOW_POWER = recalibrate._WINDOW_POWER, power
        try:
            recalibrate_batchnorm(model, batches)
        finally:
            recalibrate._WINDOW_POWER = kept

    return recipe


def print_errors() -> None:
    recipes: dict[str, Callable[[nn.Module, Any], object]] = {
        "exact": lambda model, batches: recalibrate_batchnorm(model, batches, method="exact"),
        "fast": recalibrate_batchnorm,
        **{f"fast, window k ** {power}": _with_power(power) for power in (0.0, 0.5, 2 / 3, 1.0)},
        "update_bn": update_bn,
    }
    for class_sorted in (False, True):
        for count, size in ((130, 64), (514, 32), (2050, 32), (2050, 8)):
            print(f"{count} samples in batches of {size}, {'sorted by class' if class_sorted else 'random order'}")
            for name, recipe in recipes.items():
                cells = "  ".join(f"{error:.1e}" for error in _measure(recipe, count, size, class_sorted))
                print(f"  {name:32s} {cells}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    print_errors()
