"""The modes that the modules of a model are in: training, evaluation, and what lies at rest while the others train."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from noisycorrect.support.modules import unwrap, with_own_modes


class TrainingModes:
    """The modes in which the modules of a model train, as its owner left them.

    A model in training mode has modules at rest if some of them are in evaluation mode; and a normalisation layer whose
    scale and shift are frozen keeps the statistics that it has of other data, at rest, too. A model that is in
    evaluation mode as a whole (as one that was loaded) has none.

    Parameters
    ----------
    model : nn.Module
        Is put into them.

    Attributes
    ----------
    resting : frozenset of str
        Names of the modules in evaluation mode.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout().eval(), nn.Dropout())
    >>> sorted(TrainingModes(model).resting)
    ['1']
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model = unwrap(model)
        before = {module: module.training for module in model.modules()} if model.training else {}
        if not before or with_own_modes(model):
            model.train()
        frozen = set(frozen_statistics(model))
        self._resting: dict[nn.Module, str] = {
            module: name
            for name, module in model.named_modules()
            if name in frozen or not (module.training and before.get(module, True))
        }
        self.resting = frozenset(self._resting.values())
        self.apply()

    def apply(self) -> None:
        """Put the model into them again; modules that have come since then train."""
        for module in self._model.modules():  # parents come first
            wanted = module not in self._resting
            if module.training is not wanted:
                module.train(wanted)
                module.training = wanted

    def trained_at_rest(self) -> str | None:
        """Return the name of the first part at rest, made of several modules, that has weights to train; or None."""
        for module, name in self._resting.items():
            several = next(module.children(), None) is not None
            if several and any(parameter.requires_grad for parameter in module.parameters()):
                return name
        return None


def resting_modules(model: nn.Module) -> list[str]:
    """Return the names of the modules in evaluation mode, if the model is in training mode; else they say nothing.

    Examples
    --------
    >>> resting_modules(nn.Sequential(nn.Dropout().eval(), nn.Dropout()))
    ['0']
    """
    inner = unwrap(model)
    return [name for name, module in inner.named_modules() if not module.training] if inner.training else []


def frozen_modules(model: nn.Module) -> set[str]:
    """Return the names of modules all of whose parameters are frozen, and of those inside them.

    Examples
    --------
    >>> sorted(frozen_modules(nn.Sequential(nn.Linear(1, 1).requires_grad_(False), nn.Linear(1, 1))))
    ['0']
    """
    whole = [
        name
        for name, module in model.named_modules()
        if any(True for _ in module.parameters()) and not any(p.requires_grad for p in module.parameters())
    ]
    prefixes = tuple(f"{name}." if name else "" for name in whole)
    return {name for name, _ in model.named_modules() if name in whole or name.startswith(prefixes)} if whole else set()


def frozen_statistics(model: nn.Module) -> list[str]:
    """Return the names of normalisation layers that are frozen, with running statistics of data that they have seen.

    Frozen are those whose scale and shift do not train, and those in modules of which nothing does. If nothing of the
    model trains, that says nothing of its layers.

    Examples
    --------
    >>> import torch
    >>> norm = nn.BatchNorm1d(2)
    >>> _ = norm(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    >>> frozen_statistics(nn.Sequential(nn.Linear(2, 2), norm.requires_grad_(False)))
    ['1']
    """
    frozen = frozen_modules(model)
    if "" in frozen:
        return []
    return [
        name
        for name, module in model.named_modules()
        if name in frozen and isinstance(module, _NormBase) and _has_seen_data(module)
    ]


def _has_seen_data(norm: _NormBase) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None or nn.parameter.is_lazy(mean):
        return False
    return bool((mean != 0).any() or (variance != 1).any())
