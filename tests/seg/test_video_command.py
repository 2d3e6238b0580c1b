"""Videos on the command line: their folders, what goes wrong with one, what counts as one."""

import numpy as np
import pytest
from PIL import Image

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


def test_a_video_that_cannot_be_parsed_costs_the_others_nothing(place, capsys):
    pytest.importorskip("av")
    for name in ("walk", "run"):
        written(place / f"{name}.mp4", FRAMES[:2])
    Image.fromarray(FRAMES[0]).save(place / "0.jpg")
    assert main(["parse", "walk.mp4", *WORDS]) == 0
    before = (place / "parsed" / "walk" / "video.json").read_bytes()
    capsys.readouterr()
    words = ["parse", "walk.mp4", "run.mp4", "0.jpg", *WORDS, "--flip"]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "2 frames parsed: parsed/run" in shown.out
    assert "1 images parsed" in shown.out or "1 image parsed" in shown.out
    assert "noisycorrect: walk.mp4: expected parsed/walk to hold results of the same video and settings" in shown.err
    assert "choose another folder with --out, or replace what is there with --no-resume" in shown.err
    assert "resume=False" not in shown.err
    assert (place / "parsed" / "0.png").exists()
    assert (place / "parsed" / "walk" / "video.json").read_bytes() == before
    assert main(["parse", "walk.mp4", *WORDS, "--flip"]) == 2  # there is nothing else to do
    assert "walk.mp4: expected" in capsys.readouterr().err
    assert main([*words, "--no-resume"]) == 0
    assert (place / "parsed" / "walk" / "video.json").read_bytes() != before


def test_a_window_that_is_none_is_found_before_anything_is_parsed(place, capsys):
    pytest.importorskip("av")
    written(place / "walk.mp4", FRAMES[:2])
    Image.fromarray(FRAMES[0]).save(place / "0.jpg")
    assert main(["parse", "walk.mp4", "0.jpg", *WORDS[:2], "--window", "-1"]) == 2
    assert "window" in capsys.readouterr().err
    assert not (place / "parsed").exists()
