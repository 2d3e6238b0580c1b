"""Everything that scikit-learn asks of an estimator, with its own suite, and nothing expected to fail."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from noisycorrect import SelfCorrectingClassifier

FEW_EPOCHS = SelfCorrectingClassifier(epochs=3, random_state=0)
CHECKS = list(estimator_checks_generator(FEW_EPOCHS))


def test_scikit_learn_asks_much():
    assert len(CHECKS) >= 50


@pytest.mark.filterwarnings("default::noisycorrect.TrainingWarning")  # a few epochs on ten samples
@pytest.mark.parametrize(
    ("estimator", "check"), CHECKS, ids=[getattr(check, "func", check).__name__ for _, check in CHECKS]
)
def test_check(estimator, check):
    check(estimator)
