"""Random augmentation is found by reading items again, whatever draws it and however seldom."""

import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from noisycorrect import Progress, SelfCorrector
from noisycorrect.data.repeated import is_augmented

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(60, 3, 4, 4, generator=GENERATOR)
DRAWS = {"torch": lambda: torch.rand(1).item(), "random": random.random, "numpy": np.random.rand}
OWN = np.random.default_rng(0)


class Items(Dataset):
    def __init__(self, augment, inputs=INPUTS):
        self.augment, self.inputs = augment, inputs

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.augment(self.inputs[index].clone()), index % 3


def crop(image):
    left, top = torch.randint(3, (2,)).tolist()
    return nn.functional.pad(image, (1, 1, 1, 1))[:, top : top + 4, left : left + 4]


AUGMENTATIONS = {
    "crop": crop,
    "jitter": lambda image: image * (1 + 0.2 * torch.rand(3, 1, 1)),
    "noise now and then": lambda image: image + 0.1 * torch.randn(3, 4, 4) if torch.rand(1) < 0.2 else image,
    "own generator": lambda image: image.flip(2) if OWN.random() < 0.5 else image,
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_mirrors(draw):
    assert is_augmented(Items(lambda image: image.flip(2) if draw() < 0.5 else image))


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_other_augmentations(augment):
    assert is_augmented(Items(augment))


def test_brightness_of_pictures_of_which_the_first_is_black():
    inputs = INPUTS.clone()
    inputs[0] = 0
    assert is_augmented(Items(lambda image: image * (1 + torch.rand(1)), inputs))


def test_what_does_not_change_is_not_augmented():
    assert not is_augmented(Items(lambda image: image.flip(2)))
    assert not is_augmented(Items(lambda image: image), num_workers=1)


def fit(train, recipe, **options):
    shape = train.inputs.shape[1:].numel()
    model = nn.Sequential(nn.Flatten(), nn.Linear(shape, 3))
    quiet = [Progress(enabled=False)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        SelfCorrector(model, num_classes=3, recipe=recipe, epochs=3, callbacks=quiet).fit(train, **options)
    return [str(each.message) for each in caught if "change from one reading" in str(each.message)]


def mirrored(image):
    return image.flip(-1) if torch.rand(1) < 0.5 else image


def test_a_run_says_which_set_it_is():
    augmented, plain = Items(mirrored), Items(lambda image: image)
    assert fit(augmented, "paper")[0].startswith("the items of train change")
    assert fit(augmented, "paper", canonical=augmented)[0].startswith("the items of canonical change")
    assert not fit(augmented, "paper", canonical=plain)
    assert not fit(augmented, "ce")


@pytest.mark.filterwarnings("ignore::noisycorrect.TrainingWarning")
def test_inputs_that_are_compared_must_not_change_either():
    vectors = INPUTS.flatten(1)
    assert fit(Items(mirrored, vectors), "robust")
    assert not fit(Items(mirrored), "robust")  # pictures are not compared by their pixels
