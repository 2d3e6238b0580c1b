"""The rows of the arena: every published recipe for class labels, self-correction, and what needs no network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from benchmarks.arenas.classical import CLASSICAL, VECTORS_ONLY
from benchmarks.lab.methods import LABEL_METHODS, Method, names_of
from noisycorrect import (
    RECIPES,
    EarlyLearning,
    EveryStep,
    OneCosine,
    OnlineCorrection,
    Recipe,
    Shares,
)
from noisycorrect.support.errors import unknown_name

#: The recipe `robust` of 2025, every setting written down: kept to be compared with what takes its name.
ROBUST_2025 = Recipe(
    schedule=Shares(init_share=0.1, cycles=5),
    rates=OneCosine(),
    average=EveryStep(0.99),
    correction=OnlineCorrection(momentum=0.7, start="auto", trust="class-relative", input_dropout=0.2, balance=False),
    objective=EarlyLearning(3.0),
    lr=0.05,
    batch_size=64,
    kinds=("classification",),
    reference="noisycorrect 2025: chosen on digits, standardised",
)
OWN: dict[str, Method] = {"robust-2025": Method(ROBUST_2025)}


@dataclass(frozen=True)
class Contender:
    """A row: `method` trains a network; None is a method without one, of :mod:`benchmarks.arenas.classical`."""

    name: str
    method: Method | None

    @property
    def published(self) -> bool:
        """Whether regret is reckoned against it: somebody else's method, as published, with one network."""
        return self.method is not None and self.method.published and self.method.networks == 1

    @property
    def kind(self) -> str:
        """What it is, for the reader of a table."""
        if self.method is None:
            return "no network"
        if not self.method.rival:
            return "self-correction"
        if self.method.control:
            return "control"
        return "published" if self.method.networks == 1 else "two networks"

    @property
    def identity(self) -> str:
        """All that decides how it trains, as text: the parts of its recipe with their options."""
        if self.method is None or self.method.recipe is None:
            return self.name
        told = "" if self.method.objective is None else f" told {self.method.objective(0.25)!r}"
        return re.sub(r" at 0x[0-9a-f]+", "", f"{self.method.recipe!r}{told}{' control' * self.method.control}")

    def modules(self) -> set[str]:
        """Return the modules that the parts of its recipe come from."""
        if self.method is None:
            return {"benchmarks.arenas.classical"}
        recipe = self.method.recipe or RECIPES["ce"]  # what pruning trains with
        parts = [getattr(recipe, name) for name in ("schedule", "rates", "average", "correction", "objective")]
        if self.method.objective is not None:
            parts.append(self.method.objective(0.25))
        inside = [value for part in parts if part is not None for value in getattr(part, "__dict__", {}).values()]
        own = {"noisycorrect.classification.methods.prune_retrain"} if self.method.recipe is None else set()
        return own | {module for thing in (*parts, *inside) if (module := _own_module(thing))}

    def fits(self, *, images: bool) -> bool:
        """Whether it can take these inputs."""
        return not (images and self.name in VECTORS_ONLY)


def _own_module(thing: Any) -> str | None:
    name = getattr(thing, "__module__", None) or type(thing).__module__
    return str(name) if name.split(".")[0] in ("noisycorrect", "benchmarks") else None


def contender(name: str) -> Contender:
    """Return the row of a name: of :func:`standard_rows`, an ablation, or any registered recipe for class labels.

    Raises
    ------
    InvalidInputError
        If there is none.

    Examples
    --------
    >>> contender("knn").kind, contender("elr").kind, contender("dividemix").kind, contender("robust-2025").kind
    ('no network', 'published', 'two networks', 'self-correction')
    """
    if name in CLASSICAL:
        return Contender(name, None)
    if name in LABEL_METHODS or name in OWN:
        return Contender(name, LABEL_METHODS.get(name) or OWN[name])
    others = [key for key in RECIPES if _for_classes(key)]
    if name not in others:
        raise unknown_name("row", name, dict.fromkeys([*CLASSICAL, *LABEL_METHODS, *OWN, *others]))
    return Contender(name, Method(RECIPES[name]))


def _for_classes(name: str) -> bool:
    return "/" not in name and RECIPES[name].kinds in ((), ("classification",))


def standard_rows() -> list[str]:
    """Return the rows of the standard plan, those without a network first.

    Examples
    --------
    >>> standard_rows()[:4], "robust-2025" in standard_rows(), "prune-retrain" in standard_rows()
    (['knn', 'ni-erm', 'hist-gradient-boosting', 'ce'], True, True)
    """
    return [*CLASSICAL, *names_of(ablations=False), *OWN]
