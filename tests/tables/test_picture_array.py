"""Pictures in a run folder."""

import numpy as np
from PIL import Image

from noisycorrect.tables import pictures
from noisycorrect.tables.pictures import PictureArray


def filled(folder, paths):
    rows, readable = PictureArray(folder, paths, None).filled(lambda done: None)
    return np.array(rows), readable


def test_an_array_that_was_begun_for_another_network_is_begun_anew(tmp_path, monkeypatch):
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for path, grey in zip(paths, (0, 100, 200), strict=True):
        Image.new("L", (9, 7), grey).save(path)
    small, _ = filled(tmp_path, paths)
    again, readable = filled(tmp_path, paths)
    np.testing.assert_array_equal(again, small)
    assert readable.all()
    monkeypatch.setattr(pictures, "SMALL_SIDE", 16)
    other, readable = filled(tmp_path, paths)
    assert other.shape == (3, 3, 16, 16)
    assert other.mean((1, 2, 3)).tolist() == [0, 100, 200]
    assert readable.all()
