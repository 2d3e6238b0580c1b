"""Videos on the command line: their folders, what goes wrong with one, what counts as one."""

import numpy as np
import pytest

from noisycorrect.cli import main
from noisycorrect_seg import ACE2P
from noisycorrect_seg.classes import classes_named
from noisycorrect_seg.datasets import MovingPeople
from noisycorrect_seg.video import Clip, ParsedVideo

FILM = MovingPeople(4, seed=1, size=(32, 40), people=2, classes="people")
FRAMES = [FILM.image(index) for index in range(len(FILM))]
WORDS = ["--checkpoint", "own.pt", "--window", "0", "--device", "cpu"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ACE2P(3, backbone="resnet18", width=0.125).save("own.pt", classes=classes_named(["a", "b", "c"]), size=(33, 33))
    return tmp_path


def written(path, frames):
    path.parent.mkdir(exist_ok=True)
    with Clip(path, rate=10) as clip:
        for frame in frames:
            clip.add(frame)
    return path


def test_videos_of_one_name_have_folders_of_their_own(place, capsys):
    pytest.importorskip("av")
    black = np.zeros_like(FRAMES[0])
    written(place / "b1" / "clip.mp4", [black, *FRAMES[:3]])
    written(place / "b2" / "clip.mp4", [black, *FRAMES[3:0:-1]])
    assert main(["parse", "b1/clip.mp4", "b2/clip.mp4", str(place / "b1" / "clip.mp4"), *WORDS]) == 0
    assert capsys.readouterr().out.count("4 frames parsed") == 2
    folders = [place / "parsed" / f"{name}-clip.mp4" for name in ("b1", "b2")]
    assert [len(ParsedVideo(folder)) for folder in folders] == [4, 4]
    one, other = ((folder / "frames.digests").read_bytes() for folder in folders)
    assert one[:16] == other[:16]
    assert one != other
