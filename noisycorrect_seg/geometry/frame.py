"""Where evidence maps lie on a given mask: a sample's own frame and the canonical frame of its predictions."""

from __future__ import annotations

import numpy as np

Size = tuple[int, int]


def letterbox(shape: Size, size: Size) -> np.ndarray:
    """Return the affine matrix from an image's pixels to those of the canonical frame that holds the whole image.

    One zoom for both axes, the image's centre on the frame's centre, corners on corners along the side that fills the
    frame: the whole-image box of the published SCHP code, with no rotation or mirror. In a frame wider than high a tall
    image's first and last rows lie up to half a pixel outside, as there.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image, at least 1.
    size : (int, int)
        Height and width of the frame, at least 2.

    Returns
    -------
    ndarray, shape (2, 3), float64
        ``matrix @ (x, y, 1)`` is the frame's (x, y); coordinates count pixel centres from 0.

    Examples
    --------
    >>> letterbox((101, 51), (51, 51)).tolist()
    [[0.5, 0.0, 12.5], [0.0, 0.5, 0.0]]
    """
    (height, width), (frame_height, frame_width) = shape, size
    # The box is [0, 0, w - 1, h - 1]; its smaller side is enlarged to the frame's aspect, width over height.
    box_width = max(width - 1, (height - 1) * frame_width / frame_height, 1e-6)
    zoom = (frame_width - 1) / box_width if max(shape) > 1 else 1.0
    shift = [(frame_width - 1) / 2 - zoom * (width - 1) / 2, (frame_height - 1) / 2 - zoom * (height - 1) / 2]
    return np.array([[zoom, 0.0, shift[0]], [0.0, zoom, shift[1]]])
