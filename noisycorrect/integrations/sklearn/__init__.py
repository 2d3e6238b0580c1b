"""scikit-learn: a classifier that corrects the labels it is trained on."""

from noisycorrect.integrations.sklearn.estimator import SelfCorrectingClassifier

__all__ = ["SelfCorrectingClassifier"]
