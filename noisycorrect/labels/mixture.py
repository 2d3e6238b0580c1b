"""Good and bad labels told apart by a mixture of two normals."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class QualityMixture(NamedTuple):
    r"""Two groups of labels, good and bad: a mixture of two normals of their losses under the evidence.

    Arazo et al. 2019 and DivideMix (Li et al. 2020, sec. 3.1) split samples by a two-component mixture of their losses;
    the loss of a label under the evidence is minus the logarithm of its quality. The losses are scaled to [0, 1] by
    `low` and `spread`; the first component is the one of lower mean.

    Attributes
    ----------
    weights, means, variances : tuple of float
        One entry a component.
    low, spread : float
        Smallest loss, and the distance to the largest; a spread of 0 says that all are alike, and all are trusted.

    Examples
    --------
    >>> mixture = QualityMixture.fit(torch.tensor([0.99, 0.98, 0.97, 0.99, 0.01, 0.02]))
    >>> mixture.trust(torch.tensor([0.98, 0.03])).round()
    tensor([1., 0.])
    """

    weights: tuple[float, float] = (1.0, 0.0)
    means: tuple[float, float] = (0.0, 1.0)
    variances: tuple[float, float] = (1.0, 1.0)
    low: float = 0.0
    spread: float = 0.0

    @classmethod
    def fit(cls, quality: Tensor) -> QualityMixture:
        """Return the mixture of label qualities (N,), in [0, 1], as scikit-learn's GaussianMixture finds it."""
        # Imported here: scikit-learn takes a second to import.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        losses = _losses(quality).numpy()
        spread = float(losses.max() - losses.min()) if losses.size else 0.0
        if spread < 1e-9:
            return cls()
        scaled = ((losses - losses.min()) / spread).reshape(-1, 1)
        start = np.quantile(scaled, [0.1, 0.9]).reshape(2, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a rough split is enough, and no fault of the caller
            fitted = GaussianMixture(2, max_iter=50, reg_covar=5e-4, means_init=start, random_state=0).fit(scaled)
        good, bad = fitted.means_[:, 0].argsort()

        def pair(values: np.ndarray) -> tuple[float, float]:
            return float(values[good].item()), float(values[bad].item())

        weights, means, variances = map(pair, (fitted.weights_, fitted.means_, fitted.covariances_))
        return cls(weights, means, variances, low=float(losses.min()), spread=spread)

    def trust(self, quality: Tensor) -> Tensor:
        """Return the posterior of the good group, float32 (N,), for label qualities (N,); never rises with the loss."""
        if not self.spread:
            return torch.ones_like(quality, dtype=torch.float32)
        scaled = (_losses(quality) - self.low) / self.spread
        # Far below the mean of a narrow good group the wide bad one would win: best labels are not to be doubted.
        scaled = scaled.clamp(min=self.means[0]).unsqueeze(-1)
        weights, means, variances = (scaled.new_tensor(values) for values in self[:3])
        log_density = weights.log() - 0.5 * variances.log() - 0.5 * (scaled - means) ** 2 / variances
        return log_density.softmax(-1)[..., 0].float().to(quality.device)


def _losses(quality: Tensor) -> Tensor:
    return -quality.detach().cpu().double().clamp(min=1e-6).log()  # not every device has float64
