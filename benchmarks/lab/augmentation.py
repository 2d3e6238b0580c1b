"""What a training batch's inputs may undergo, whole batches at a time; random numbers are torch's global ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError


def crop_and_mirror(images: Tensor, margin: int = 4) -> Tensor:
    """Return random crops of the images, whose rim is reflected first, every second one mirrored.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        A batch.
    margin : int, default 4
        Width of the reflected rim, less than H and W: a crop is off centre by so many pixels at most.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        In channels-last memory.

    Raises
    ------
    InvalidInputError
        If the batch is not one of images.

    Examples
    --------
    >>> crop_and_mirror(torch.rand(5, 3, 32, 32)).shape
    torch.Size([5, 3, 32, 32])
    """
    if images.dim() != 4:
        raise InvalidInputError("images of shape (N, C, H, W)", got=f"shape {tuple(images.shape)}")
    count, _, height, width = images.shape
    device = images.device
    top, left = torch.randint(0, 2 * margin + 1, (2, count, 1), device=device)
    mirrored = torch.rand(count, 1, device=device) < 0.5
    rows = top + torch.arange(height, device=device)
    places = torch.arange(width, device=device)
    columns = left + torch.where(mirrored, places.flip(0), places)
    padded = F.pad(images, (margin,) * 4, mode="reflect").permute(0, 2, 3, 1)
    sample = torch.arange(count, device=device)
    return padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def shift_flat_images(inputs: Tensor, *, side: int, background: float, most: int = 1) -> Tensor:
    """Return square images of one channel, laid flat, each shifted by up to `most` pixels along both axes.

    Parameters
    ----------
    inputs : Tensor, shape (N, side * side)
        A batch.
    side : int
        Height and width.
    background : float
        What enters at the rim.
    most : int, default 1
        Largest shift.

    Returns
    -------
    Tensor, shape (N, side * side)

    Raises
    ------
    InvalidInputError
        If the inputs have another number of values.

    Examples
    --------
    >>> shift_flat_images(torch.ones(2, 9), side=3, background=1.0).shape
    torch.Size([2, 9])
    """
    if inputs.dim() != 2 or inputs.shape[1] != side * side:
        raise InvalidInputError(f"inputs of shape (N, {side * side})", got=f"shape {tuple(inputs.shape)}")
    count, device = len(inputs), inputs.device
    padded = F.pad(inputs.reshape(count, side, side), (most,) * 4, value=background)
    top, left = torch.randint(0, 2 * most + 1, (2, count, 1), device=device)
    rows, columns = (start + torch.arange(side, device=device) for start in (top, left))
    sample = torch.arange(count, device=device)
    return padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]].reshape(count, -1)


def disturb_features(features: Tensor, noise: float = 0.1, dropped: float = 0.1) -> Tensor:
    """Return standardised features with Gaussian noise, some of them set to their mean.

    Parameters
    ----------
    features : Tensor, shape (N, F)
        A batch; mean 0 and deviation 1 a feature.
    noise : float, default 0.1
        Standard deviation of the noise.
    dropped : float, default 0.1
        Probability of a feature to be set to 0.

    Examples
    --------
    >>> disturb_features(torch.zeros(2, 3), noise=0.0)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    kept = torch.rand_like(features) >= dropped
    return (features + noise * torch.randn_like(features)) * kept


def strong_view(features: Tensor, noise: float = 0.3, dropped: float = 0.4) -> Tensor:
    """Return a strongly augmented view of vectors: many values dropped, then Gaussian noise on all of them.

    Parameters
    ----------
    features : Tensor, shape (N, F)
        A batch.
    noise : float, default 0.3
        Standard deviation of the noise.
    dropped : float, default 0.4
        Probability of a value to be set to 0; the others are divided by 1 - `dropped`.

    Returns
    -------
    Tensor, shape (N, F)

    Examples
    --------
    >>> strong_view(torch.ones(1, 3), noise=0.0, dropped=0.0)
    tensor([[1., 1., 1.]])
    """
    return F.dropout(features, dropped) + noise * torch.randn_like(features)
