"""The arena: many sets, preparations, networks, optimizers and noises on which a recipe is judged as a whole."""
