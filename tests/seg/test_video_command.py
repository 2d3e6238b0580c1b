"""Videos on the command line: their folders, what goes wrong with one, what counts as one."""

import numpy as np
import pytest
from PIL import Image

from noisycorrect.cli import main
from noisycorrect_seg import ACE2P
from noisycorrect_seg.classes import classes_named
from noisycorrect_seg.datasets import MovingPeople
from noisycorrect_seg.video import Clip, ParsedVideo
from noisycorrect_seg.video.record import digest_of_frame

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


def test_animations_and_folders_of_frames_are_videos(place, capsys):
    written(place / "clip.gif", FRAMES)
    pictures = [Image.fromarray(frame) for frame in FRAMES[:3]]
    pictures[0].save(place / "moving.webp", save_all=True, append_images=pictures[1:], lossless=True)
    pictures[0].save(place / "still.gif")
    (place / "walk").mkdir()
    for number, picture in zip((1, 2, 10), pictures, strict=True):
        picture.save(place / "walk" / f"frame{number}.png")
    assert main(["parse", "clip.gif", "moving.webp", "still.gif", "walk", "--frames", *WORDS]) == 0
    shown = capsys.readouterr()
    assert "1 images parsed" in shown.out or "1 image parsed" in shown.out
    assert (place / "parsed" / "still.png").exists()
    assert {name: len(ParsedVideo(place / "parsed" / name)) for name in ("clip", "moving", "walk")} == {
        "clip": 4,
        "moving": 3,
        "walk": 3,
    }
    digests = (place / "parsed" / "walk" / "frames.digests").read_bytes()
    assert digests == b"".join(digest_of_frame(frame) for frame in FRAMES[:3])


def test_a_folder_without_frames_holds_photos(place, capsys):
    (place / "walk").mkdir()
    for number in range(2):
        Image.fromarray(FRAMES[number]).save(place / "walk" / f"{number}.png")
    assert main(["parse", "walk", *WORDS]) == 0
    assert sorted(path.name for path in (place / "parsed").iterdir()) == ["0.png", "1.png"]
    assert main(["parse", "walk/0.png", "--frames", *WORDS]) == 2
    assert "expected a folder with --frames; got none" in capsys.readouterr().err
    assert main(["parse", "walk", "--frames", "--out", ".", *WORDS]) == 2  # ./walk: among the frames
    assert "a folder of its own for results" in capsys.readouterr().err
    assert sorted(path.name for path in (place / "walk").iterdir()) == ["0.png", "1.png"]
