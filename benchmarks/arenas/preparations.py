"""How the inputs of a set reach a network: nearly raw, scaled feature by feature, or standardised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from benchmarks.arenas.tables import Values


def raw(train: Values) -> Callable[[Values], Values]:
    """Return what divides everything by one power of ten, so that the largest absolute value is in [1, 10).

    Examples
    --------
    >>> scale = raw(np.array([[160.0, -3.0]], np.float32))
    >>> scale(np.array([[50.0, 25.0]], np.float32)).tolist()
    [[0.5, 0.25]]
    """
    largest = float(np.abs(train).max()) or 1.0
    unit = 10.0 ** np.floor(np.log10(largest))
    return lambda values: (values / unit).astype(np.float32)


def minmax(train: Values) -> Callable[[Values], Values]:
    """Return what maps the range of each feature of the training rows to [0, 1]; test rows may leave it."""
    return _by_scaler(MinMaxScaler(), train)


def standard(train: Values) -> Callable[[Values], Values]:
    """Return what takes mean and deviation of each feature of the training rows away; of images, of each channel."""
    return _by_scaler(StandardScaler(), train)


def _by_scaler(scaler: Any, train: Values) -> Callable[[Values], Values]:
    def columns(values: Values) -> Values:
        return np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])

    scaler.fit(columns(train).astype(np.float64))

    def apply(values: Values) -> Values:
        scaled = scaler.transform(columns(values).astype(np.float64)).astype(np.float32)
        last = np.moveaxis(values, 1, -1).shape
        return np.ascontiguousarray(np.moveaxis(scaled.reshape(last), -1, 1))

    return apply


PREPARATIONS: dict[str, Callable[[Values], Callable[[Values], Values]]] = {
    "raw": raw,
    "minmax": minmax,
    "standard": standard,
}
IMAGE_PREPARATIONS = ("raw", "standard")  # the range of a photograph's channels is [0, 1] as it is
