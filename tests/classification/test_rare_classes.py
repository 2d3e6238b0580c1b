"""The default recipe on texts of six classes, 45 to 2 %, a sixth of whose labels are wrong: none vanishes."""

import numpy as np
import torch
from sklearn.metrics import recall_score
from tiny_runs import QUIET
from torch import nn

from noisycorrect import RECIPES, SelfCorrector

SHARES = [0.45, 0.25, 0.15, 0.09, 0.04, 0.02]


def tickets(rows, seed):
    """Return counts of 120 words in texts of 8 to 20 words, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(6, rows, p=SHARES)
    words = np.random.default_rng(0).dirichlet(np.full(120, 0.15), 6)
    texts = [rng.multinomial(rng.integers(8, 21), 0.6 * words[label] + 0.4 / 120) for label in labels]
    return torch.tensor(np.array(texts), dtype=torch.float32), labels


def recalls(recipe):
    """Return the share of each class of test texts that a network finds, and the share of all."""
    inputs, right = tickets(1500, seed=3)
    rng = np.random.default_rng(2)
    given = np.where(rng.random(len(right)) < 0.17, rng.choice(6, len(right), p=SHARES), right)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = nn.Sequential(nn.Linear(120, 64), nn.ReLU(), nn.Linear(64, 6))
    result = SelfCorrector(network, num_classes=6, recipe=recipe, epochs=20, callbacks=[QUIET]).fit((inputs, given))
    texts, truth = tickets(1000, seed=102)
    with torch.no_grad():
        predicted = result.model.eval()(texts).argmax(1).numpy()
    return recall_score(truth, predicted, average=None), (predicted == truth).mean()


def test_no_class_vanishes():
    found, accuracy = recalls(RECIPES["robust"])
    alike, other = recalls(RECIPES["robust"].replace(class_weight=None))
    assert found.min() > 0.5
    assert found.mean() > alike.mean() + 0.05
    assert accuracy > other - 0.02
