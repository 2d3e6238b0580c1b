"""A student in shards: each rank keeps a part of its weights, gradients, optimizer state and average (FSDP2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from noisycorrect.cycle.aggregate import equal_average, exponential_average
from noisycorrect.cycle.averages import AtCycleEnds, Average, EveryStep
from noisycorrect.recipe import Recipe
from noisycorrect.support import distributed
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.modules import copied


def check_shardable(recipe: Recipe, device: torch.device, precision: torch.dtype | None) -> None:
    """Raise an InvalidInputError, which names it, if something of a run does not work with a student in shards."""
    fix = 'pass parallel="ddp", with which each rank has the whole model'
    if recipe.networks > 1:
        raise InvalidInputError("a recipe of one network with parallel='fsdp'", got=repr(recipe.objective), fix=fix)
    if precision is torch.float16:
        got = "float16, whose loss scaling each rank would do alone"
        raise InvalidInputError("float32 or bfloat16 with parallel='fsdp'", got=got, fix='pass precision="bfloat16"')
    if device.type not in ("cpu", "cuda"):
        raise InvalidInputError("a CPU or a GPU of CUDA with parallel='fsdp'", got=str(device), fix=fix)
    backend = dist.get_backend()
    if "nccl" in backend and device.type == "cpu" and "gloo" not in backend:
        got = f"a group of {backend}, which moves nothing between CPUs"
        raise InvalidInputError("a group for the device", got=got, fix='init_process_group("gloo") or device="cuda"')


def sharded(model: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a model in shards, with the weights of rank 0; collective.

    The members of each ``nn.ModuleList`` (the layers of a transformer) are gathered one at a time when they run, what
    is left at once. A list whose members share parameters with other modules is left in the whole.

    Parameters
    ----------
    model : nn.Module
        On the device; becomes rank 0's.
    device : torch.device
        CPU, or this rank's GPU.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    for tensor in [*model.parameters(), *model.buffers()]:
        _broadcast(tensor)
    own = copied(model)
    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    for module in _layers(own):
        fully_shard(module, mesh=mesh)
    fully_shard(own, mesh=mesh)
    return own


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return the members of lists of modules that are used as whole modules: innermost first."""
    places: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), set()).add(name)
    found = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList):
            continue
        for number, member in enumerate(module):
            inside = f"{name}.{number}." if name else f"{number}."
            parameters = list(member.parameters())
            if parameters and all(each.startswith(inside) for own in parameters for each in places[id(own)]):
                found.append(member)
    return found[::-1]


def _broadcast(tensor: Tensor) -> None:
    own = distributed.on_backend(tensor)
    dist.broadcast(own, 0)
    with torch.no_grad():
        tensor.copy_(own.to(tensor.dtype))


def whole(value: Any) -> Any:
    """Return a value with all tensors in shards put together, in dicts and lists, too; collective."""
    if isinstance(value, Mapping):
        return {key: whole(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(whole, value))
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def gather(student: nn.Module, plain: nn.Module, weights: Mapping[str, Tensor] | None = None) -> None:
    """Give a plain model the student's weights, or others in the same shards, and rank 0's buffers; collective."""
    from torch.distributed.tensor import DTensor

    target = dict(plain.named_parameters())
    buffers = dict(student.named_buffers())
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            value: Any = parameter
            if weights is not None:
                value = DTensor.from_local(
                    weights[name], value.device_mesh, value.placements, shape=value.shape, stride=value.stride()
                )
            target[name].copy_(value.full_tensor())
        for name, buffer in plain.named_buffers():
            buffer.copy_(buffers[name])
            _broadcast(buffer)


def scatter(plain: nn.Module, student: nn.Module) -> None:
    """Give a student in shards a plain model's weights and buffers."""
    source, buffers = dict(plain.named_parameters()), dict(plain.named_buffers())
    with torch.no_grad():
        for name, parameter in student.named_parameters():
            parameter.copy_(_in_shards(source[name], parameter))
        for name, buffer in student.named_buffers():
            buffer.copy_(buffers[name])


def _in_shards(value: Tensor, like: Any) -> Any:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.detach().to(like.device, like.dtype), like.device_mesh, like.placements)


def optimizer_in_shards(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an optimizer that :func:`whole` put together with what belongs to a parameter in shards."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def divided(value: Any, like: Any) -> Any:
        fits = isinstance(value, Tensor) and value.dim() > 0 and value.shape == like.shape
        return _in_shards(value, like) if fits else value

    own = {
        number: {name: divided(value, parameters[int(number)]) for name, value in each.items()}
        for number, each in state["state"].items()
    }
    return {**state, "state": own}


class ShardedAverage:
    """What a recipe's `average` does in a run whose student is in shards: each rank averages its own.

    :attr:`model` is a whole one, of which every rank has a copy: as of the last :meth:`gather`.

    Parameters
    ----------
    recipe : AtCycleEnds, EveryStep or None
        The recipe's part.
    student : nn.Module
        In shards.
    plain : nn.Module
        The same model in the whole, for predictions.
    """

    def __init__(self, recipe: Average | None, student: nn.Module, plain: nn.Module) -> None:
        self.recipe = recipe
        self.count = 0
        self._plain = plain
        self._student = student
        self._weights = {
            name: _local(value).to(torch.promote_types(value.dtype, torch.float32), copy=True)
            for name, value in student.named_parameters()
            if recipe is not None
        }

    @property
    def model(self) -> nn.Module:
        """The averaged model, or the student without an average."""
        return self._plain

    def after_step(self, student: nn.Module) -> None:
        """Take the weights in, if every step counts."""
        if isinstance(self.recipe, EveryStep):
            self._update(student)

    def at_cycle_end(self, student: nn.Module) -> None:
        """Take the weights in, if the ends of cycles count (SCHP, Eq. 6)."""
        if isinstance(self.recipe, AtCycleEnds):
            self._update(student)
        self.gather()

    def gather(self) -> None:
        """Put the average together, or the student where there is none; collective."""
        gather(self._student, self._plain, self._weights if self.recipe is not None and self.count else None)

    def restart(self, student: nn.Module, optimizer: Optimizer) -> None:
        """Let the next cycle start from the averaged weights, the optimizer having forgotten the old ones."""
        if isinstance(self.recipe, AtCycleEnds) and self.recipe.restart == "aggregate":
            scatter(self._plain, student)
            optimizer.state.clear()

    @torch.no_grad()
    def _update(self, student: nn.Module) -> None:
        for name, parameter in student.named_parameters():
            kept, value = self._weights[name], _local(parameter)
            if not self.count or not parameter.requires_grad:
                kept.copy_(value)
            elif isinstance(self.recipe, EveryStep):
                decay = min(self.recipe.decay, self.count / (self.count + 1))
                kept.copy_(exponential_average(kept, value, decay))
            else:
                kept.copy_(equal_average(kept, value, self.count))
        self.count += 1

    def state_dict(self) -> dict[str, Any] | None:
        """Return the average in the whole, or None; collective."""
        if self.recipe is None:
            return None
        self.gather()
        return {"count": self.count, "in shards": True, "model": dict(self._plain.state_dict())}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Restore what :meth:`state_dict` returned, on any number of ranks.

        Raises
        ------
        CheckpointError
            If it is the average of a run whose ranks had the whole model.
        """
        if self.recipe is None or state is None:
            return
        if "in shards" not in state:
            raise CheckpointError("an average in shards", got="one of parallel='ddp'", fix='pass parallel="ddp"')
        self.count = state["count"]
        self._plain.load_state_dict(state["model"])
        shards = dict(self._student.named_parameters())
        for name, parameter in self._plain.named_parameters():
            self._weights[name].copy_(_local(_in_shards(parameter, shards[name])))


def _local(value: Any) -> Tensor:
    return value.detach().to_local() if hasattr(value, "to_local") else value.detach()  # type: ignore[no-any-return]
