"""How a method of the literature joins the recipes, and the one that is no objective of its own."""

from __future__ import annotations

from typing import Any

from noisycorrect.cycle.averages import EveryStep
from noisycorrect.objective import Objective
from noisycorrect.recipe import PLAIN, Recipe, register_recipe


def register_method(name: str, objective: Objective, reference: str, **parts: Any) -> Recipe:
    """Register an objective for class labels as a recipe: one cosine, nothing averaged or corrected.

    Parameters
    ----------
    name : str
        In :data:`~noisycorrect.RECIPES`.
    objective : Objective
        With its published parameters.
    reference : str
        Author and year, title, arXiv number.
    **parts
        Further parts of the recipe.
    """
    return register_recipe(
        name, PLAIN.replace(objective=objective, reference=reference, kinds=("classification",), **parts)
    )


register_method(
    "ce-wa-aug",
    PLAIN.objective,
    "Kang et al. 2023, Unleashing the Potential of Regularization Strategies in Learning with Noisy Labels, "
    "arXiv:2307.05025",
    average=EveryStep(),
    weight_decay=1e-3,
    needs_augment=True,
)
