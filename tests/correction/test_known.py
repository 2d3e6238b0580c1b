"""Correction by evidence that is there before training."""

import numpy as np
import pytest
import torch
from torch import nn

from noisycorrect import RECIPES, SelfCorrector, Shares
from noisycorrect.callbacks import Progress
from noisycorrect.correction.known import KnownEvidence
from noisycorrect.support.errors import CheckpointError, InvalidInputError

INPUTS = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
TRUTH = (INPUTS[:, 0] > 0).long().numpy()
PROBS = np.where(np.arange(2) == TRUTH[:, None], 0.9, 0.1).astype(np.float32)


def fitted(correction, given, **options):
    recipe = RECIPES["ema"].replace(correction=correction, schedule=Shares(init_share=0.1))
    corrector = SelfCorrector(
        nn.Linear(3, 2), num_classes=2, recipe=recipe, epochs=20, lr=0.5, batch_size=16,
        callbacks=[Progress(enabled=False)], **options,
    )  # fmt: skip
    return corrector.fit((INPUTS, given))


def test_the_network_learns_the_evidence_and_the_store_keeps_both():
    given = 1 - TRUTH
    given[:5] = -1
    seen = np.arange(64) % 2 == 0
    result = fitted(KnownEvidence(PROBS, held_out=seen), given)
    assert (result.model(INPUTS).argmax(1).numpy() == TRUTH).mean() > 0.9
    assert np.array_equal(result.labels.given(), given)
    assert np.allclose(result.labels.evidence().numpy(), PROBS, atol=1e-3)
    assert np.array_equal(result.labels.labels(), TRUTH)
    assert np.array_equal(result.labels.held_out(), seen)


def test_targets_are_learnt_and_probabilities_published():
    result = fitted(KnownEvidence(PROBS, targets=PROBS[:, ::-1]), TRUTH)
    assert (result.model(INPUTS).argmax(1).numpy() == 1 - TRUTH).mean() > 0.9
    assert np.array_equal(result.labels.labels(), TRUTH)


def test_a_run_with_other_evidence_is_not_resumed(tmp_path):
    fitted(KnownEvidence(PROBS), TRUTH, run_dir=tmp_path)
    fitted(KnownEvidence(PROBS), TRUTH, run_dir=tmp_path)
    with pytest.raises(CheckpointError, match="digest"):
        fitted(KnownEvidence(PROBS[:, ::-1]), TRUTH, run_dir=tmp_path)


@pytest.mark.parametrize(
    ("probs", "message"),
    [(PROBS[0], "shape"), (PROBS - 0.5, "negative"), (PROBS * 2, "do not sum to 1"), (PROBS * np.nan, "non-finite")],
)
def test_bad_probabilities(probs, message):
    with pytest.raises(InvalidInputError, match=message):
        KnownEvidence(probs)


def test_evidence_of_other_samples():
    with pytest.raises(InvalidInputError, match="probabilities of 64 samples and 2 classes"):
        fitted(KnownEvidence(PROBS[:60]), TRUTH)
    with pytest.raises(InvalidInputError, match="targets of shape"):
        KnownEvidence(PROBS, targets=PROBS[:60])
