"""Parsing videos: averages, files, resuming, memory, damage."""

import contextlib
import json
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_film import FILM, FRAMES, MODEL, OPTIONS, Noisy
from torch import nn

from noisycorrect.cli import main
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import ACE2P, Folder, parse_image
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.cli.videos import parsed_video
from noisycorrect_seg.inference import Recipe
from noisycorrect_seg.inputs import RGB
from noisycorrect_seg.video import Clip, ParsedVideo, parse_frames, parse_video, pseudo_masks
from noisycorrect_seg.video.averaging import Averaging, Frame, averaged
from noisycorrect_seg.video.reading import as_frame, opened_video


def people_in(frame):
    return FILM.people(next(index for index, each in enumerate(FRAMES) if (each == frame).all()))


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".png", ".npz")
    }


def test_without_a_window_a_frame_is_parsed_as_an_image(tmp_path):
    parsed = parse_video(MODEL, FRAMES, tmp_path, **{**OPTIONS, "window": 0})
    for index, frame in enumerate(FRAMES):
        alone = parse_image(MODEL, frame, classes=["a", "b", "c"], size=(32, 32), device="cpu")
        assert (parsed.mask(index) == alone.labels).all()
        assert (parsed.people(index) == (alone.labels > 0)).all()


def test_the_average_is_the_mean_along_the_flow():
    """Against a sum written out: a picture that moves a pixel to the right each frame, weights of 1, 1/2 and 1/4."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (16, 30, 3), np.uint8)
    crops = [np.ascontiguousarray(wide[:, 5 - k : 25 - k]) for k in range(5)]
    probs = torch.from_numpy(rng.dirichlet(np.ones(3), (5, 16, 20))).permute(0, 3, 1, 2).float()
    frames = [Frame(k, crops[k], crops[k], probs[k]) for k in range(5)]
    known = {crop.tobytes(): k for k, crop in enumerate(crops)}

    def flow(one, other):
        return np.broadcast_to([known[other.tobytes()] - known[one.tobytes()], 0.0], (16, 20, 2))

    found = {frame.index: mean for frame, mean, _ in averaged(frames, Averaging(2, 1, decay=0.5, flow=flow))}
    expected = torch.zeros(3, 16)
    for k, weight in ((0, 0.25), (1, 0.5), (2, 1.0), (3, 0.5)):
        expected += weight * probs[k][:, :, 10 + k - 2]
    assert torch.allclose(found[2][:, :, 10], expected / 2.25, atol=1e-5)
    assert torch.allclose(found[2].sum(0), torch.ones(16, 20), atol=1e-5)


def test_a_new_scene_is_not_mixed_with_the_old_one(tmp_path):
    other = [np.full_like(frame, 255) - frame for frame in FRAMES[:4]]
    cut = parse_video(MODEL, FRAMES[:4] + other, tmp_path / "cut", **OPTIONS)
    whole = parse_video(MODEL, FRAMES[:4], tmp_path / "whole", **OPTIONS)
    same = np.mean([(cut.mask(index) == whole.mask(index)).mean() for index in range(4)])
    assert same > 0.98


@pytest.mark.parametrize("stops", [1, 4, 8])
def test_a_killed_run_goes_on_with_the_same_results(tmp_path, stops):
    def breaking():
        yield from FRAMES[:stops]
        raise KeyboardInterrupt

    options = {**OPTIONS, "instances": people_in, "images": True, "probs": True, "overlay": "film.gif"}
    whole = parse_video(MODEL, iter(FRAMES), tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        parse_video(MODEL, breaking(), tmp_path / "parts", **options)
    between = ParsedVideo(tmp_path / "parts")
    assert not between.finished
    batches = stops // 2 * 2  # frames that went through the network before the kill; the last two wait for others
    assert len(between) == max(0, batches - 2)
    again = parse_video(MODEL, iter(FRAMES), tmp_path / "parts", **options)
    assert again.finished
    assert len(again) == len(whole) == len(FRAMES)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    assert not list((tmp_path / "parts").rglob(".*.part"))
    assert (tmp_path / "parts" / "film.gif").read_bytes() == (tmp_path / "whole" / "film.gif").read_bytes()


def test_a_finished_run_is_not_repeated(tmp_path):
    parse_video(MODEL, FRAMES[:3], tmp_path, **OPTIONS)

    class Broken(Noisy):
        def forward(self, images):
            raise AssertionError("called")

    assert len(parse_video(Broken(), FRAMES[:3], tmp_path, **OPTIONS)) == 3


def test_other_settings_and_other_videos_are_refused(tmp_path):
    parse_video(MODEL, FRAMES[:3], tmp_path, **OPTIONS)
    with pytest.raises(InvalidInputError, match=r"size \[32, 32\] there, \[16, 16\] now"):
        parse_video(MODEL, FRAMES[:3], tmp_path, **{**OPTIONS, "size": (16, 16)})
    with pytest.raises(InvalidInputError, match="first frame"):
        parse_video(MODEL, FRAMES[1:3], tmp_path, **OPTIONS)
    other = Noisy()
    with torch.no_grad():
        other.conv.bias += 1
    with pytest.raises(InvalidInputError, match="network"):
        parse_video(other, FRAMES[:3], tmp_path, **OPTIONS)
    assert len(parse_video(other, FRAMES[:2], tmp_path, resume=False, **OPTIONS)) == 2
    (tmp_path / "foreign" / "masks").mkdir(parents=True)
    (tmp_path / "foreign" / "masks" / "mine.png").touch()
    with pytest.raises(InvalidInputError, match="other files in .*masks"):
        parse_video(MODEL, FRAMES, tmp_path / "foreign", **OPTIONS)


def test_memory_is_the_window_and_a_batch(monkeypatch):
    alive, most = [], 0

    def counted(frame):
        pixels = as_frame(frame)
        alive.append(weakref.ref(pixels))
        return pixels

    monkeypatch.setattr("noisycorrect_seg.video.parse.as_frame", counted)
    frames = (np.full((16, 20, 3), index, np.uint8) for index in range(30))
    options = {key: value for key, value in OPTIONS.items() if key != "progress"}
    for found in parse_frames(MODEL, frames, **options):
        most = max(most, sum(frame() is not None for frame in alive))
        del found
    assert 3 <= most <= 5 + 2 + 2  # the window, a batch, what is handed out and what has come


def test_frames_of_another_size_begin_anew(tmp_path):
    small = [frame[:20] for frame in FRAMES[3:5]]
    with pytest.warns(UserWarning, match="frame 3 is 20 x 40, those before are 32 x 40"):
        parsed = parse_video(MODEL, FRAMES[:3] + small, tmp_path, overlay="film.gif", **OPTIONS)
    assert [parsed.mask(index).shape for index in range(5)] == [(32, 40)] * 3 + [(20, 40)] * 2
    assert parsed.sizes == {0: (32, 40), 3: (20, 40)}
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (40, 32)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        ([], "at least one frame; got none"),
        ([np.zeros((4, 5), np.float32)], "float32 of shape"),
        (7, "frames; got int"),
        (FRAMES[0], "frames, .*; got one picture of shape"),
        (torch.zeros(3, 32, 40, dtype=torch.uint8), "frames, .*; got one picture of shape"),
        (np.dstack([FRAMES[0], FRAMES[0][..., :1]]), "frames, .*; got one picture of shape"),
        (FRAMES[0][..., :1], "frames, .*; got one picture of shape"),
        ("missing.mp4", "a video file; got no file missing.mp4"),
        ("missing.gif", "a video file; got no file missing.gif"),
        (Path("missing"), "a video file; got no file missing"),
        (["missing.png"], "got no file missing.png"),
    ],
)
def test_what_is_no_video_says_so(tmp_path, video, message):
    with pytest.raises(InvalidInputError, match=message):
        parse_video(MODEL, video, tmp_path / "out", **OPTIONS)


def test_three_grey_frames_are_no_picture(tmp_path):
    assert len(parse_video(MODEL, np.stack([frame[..., 0] for frame in FRAMES[:3]]), tmp_path, **OPTIONS)) == 3


def test_bad_arguments_say_so(tmp_path):
    for wrong in ({"window": -1}, {"window": (1, 2, 3)}, {"flow": "none"}, {"overlay": "a/b.gif"}, {"batch_size": 0}):
        with pytest.raises(InvalidInputError):
            parse_video(MODEL, FRAMES[:2], tmp_path / "out", **{**OPTIONS, **wrong})
    for rate in (0, -1.0, float("nan"), float("inf"), "25"):
        with pytest.raises(InvalidInputError, match="expected 0 < rate; got"):
            parse_video(MODEL, FRAMES[:2], tmp_path / "out", rate=rate, **OPTIONS)
    assert not (tmp_path / "out").exists()
    parse_video(MODEL, FRAMES[:2], tmp_path / "out", rate=1e-6, overlay="slow.gif", **OPTIONS)
    with Image.open(tmp_path / "out" / "slow.gif") as film:
        assert film.info["duration"] == 655_350


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_frames_that_come_in_the_same_memory_are_told_apart(tmp_path, kind):
    def camera():
        memory = np.empty_like(FRAMES[0])
        for frame in FRAMES[:5]:
            memory[...] = frame
            yield kind(memory)

    expected = parse_video(MODEL, FRAMES[:5], tmp_path / "list", **OPTIONS)
    found = parse_video(MODEL, camera(), tmp_path / "camera", images=True, **OPTIONS)
    for index in range(5):
        assert (found.image(index) == FRAMES[index]).all()
        assert (found.mask(index) == expected.mask(index)).all()


@pytest.mark.parametrize("name", ["x.png", "x.xyz", "overlay", ".gif", "masks.tar"])
def test_an_overlay_of_no_kind_of_video_is_refused_before_anything_is_replaced(tmp_path, name):
    parse_video(MODEL, FRAMES[:2], tmp_path, **OPTIONS)
    before = files_of(tmp_path)
    with pytest.raises(InvalidInputError, match=r"a video that ends in \.gif, \.mp4, .*; got '"):
        parse_video(MODEL, FRAMES[:2], tmp_path, overlay=name, resume=False, **OPTIONS)
    assert files_of(tmp_path) == before


def test_tensors_folders_and_gifs_are_videos(tmp_path):
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(FRAMES[:3]):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    with Clip(tmp_path / "film.gif", rate=20) as clip:
        for frame in FRAMES[:3]:
            clip.add(frame)
    tensors = torch.from_numpy(np.stack(FRAMES[:3])).permute(0, 3, 1, 2)
    for video in (tensors, tmp_path / "frames"):
        assert [(a == b).all() for a, b in zip(opened_video(video).frames, FRAMES, strict=False)] == [True] * 3
    gif = opened_video(tmp_path / "film.gif")
    assert (gif.count, gif.rate) == (3, 20)
    assert [frame.shape for frame in gif.frames] == [(32, 40, 3)] * 3


def test_the_pictures_of_a_folder_come_in_order_of_their_numbers(tmp_path):
    names = ["frame1.png", "frame2.png", "frame02b.png", "frame9.png", "frame10.png", "frame11.png"]
    for level, name in enumerate(names):
        Image.fromarray(np.full((4, 6, 3), level, np.uint8)).save(tmp_path / name)
    (tmp_path / "frame3.png").mkdir()
    os.mkfifo(tmp_path / "frame4.png")  # to open it would wait for ever
    video = opened_video(tmp_path)
    assert video.count == len(names)
    assert [int(frame[0, 0, 0]) for frame in video.frames] == list(range(len(names)))


def written(path, frames, **options):
    with Clip(path, rate=10) as clip:
        for frame in frames:
            clip.add(frame)
    return path


def test_a_video_file_is_read_and_its_overlay_written(tmp_path):
    pytest.importorskip("av")
    path = written(tmp_path / "film.mkv", FRAMES)
    parsed = parse_video(MODEL, path, tmp_path / "out", overlay=True, **OPTIONS)
    assert len(parsed) == 9
    assert parsed.problem is None
    assert parsed.rate == pytest.approx(10)
    overlay = opened_video(tmp_path / "out" / "overlay.mp4")
    assert overlay.count == len([frame.shape for frame in overlay.frames]) == 9


def test_a_video_that_is_cut_off_keeps_what_could_be_read(tmp_path):
    pytest.importorskip("av")
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(30)]
    whole = written(tmp_path / "film.mkv", frames)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"cut.mkv (cut off|cannot be read) after frame \d+"):
        parsed = parse_video(MODEL, cut, tmp_path / "out", **{**OPTIONS, "window": 1})
    assert 3 < len(parsed) < 30
    assert f"after frame {len(parsed)}" in parsed.problem
    assert parsed.mask(len(parsed) - 1).shape == (64, 64)
    cut.write_bytes(whole.read_bytes())  # copied again
    again = parse_video(MODEL, cut, tmp_path / "out", **{**OPTIONS, "window": 1})
    assert len(again) == 30
    assert again.problem is None


def test_a_file_that_is_no_video_says_so(tmp_path):
    pytest.importorskip("av")
    for content in (b"", b"no video" * 100):
        (tmp_path / "film.mp4").write_bytes(content)
        with pytest.raises(InvalidInputError, match="a video file that can be read"):
            parse_video(MODEL, tmp_path / "film.mp4", tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()


def test_without_pyav_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "film.mp4").touch()
    with pytest.raises(InvalidInputError, match=r"pip install 'noisycorrect\[video\]'"):
        parse_video(MODEL, tmp_path / "film.mp4", tmp_path / "out", **OPTIONS)
    parse_video(MODEL, FRAMES[:2], tmp_path / "gif", overlay=True, **OPTIONS)
    assert (tmp_path / "gif" / "overlay.gif").exists()


@pytest.mark.parametrize("size", [(32, 32), (8, 10)])
def test_everybody_in_a_frame_has_a_number_however_small(size):
    people = np.zeros(FRAMES[0].shape[:2], np.int64)
    people[3, 1::2] = np.arange(20) + 7
    people[10:20, 5:15] = 2

    def found(frame):
        return people

    options = {"classes": OPTIONS["classes"], "size": size, "window": 1, "device": "cpu", "instances": found}
    frames = list(parse_frames(MODEL, [FRAMES[0]] * 3, **options))
    numbers = np.unique(frames[0].people)
    assert len(numbers) == 22
    for frame in frames:
        assert ((frame.people > 0) == (people > 0)).all()
        assert (frame.people == frames[0].people).all()


def test_pseudo_masks_are_training_data(tmp_path):
    parsed = parse_video(MODEL, FRAMES[:5], tmp_path / "walk", images=True, probs=True, **OPTIONS)
    source = pseudo_masks(parsed, confidence=0.6, every=2)
    assert [source.name(index) for index in range(3)] == ["walk-000000", "walk-000002", "walk-000004"]
    assert (source.image(1) == FRAMES[2]).all()
    probs, mask = source.probs(1), source.mask(1)
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-3)
    assert ((mask == 255) == (probs.max(0) < 0.6)).all()
    assert (mask[mask < 255] == probs.argmax(0)[mask < 255]).mean() > 0.99
    assert (mask == 255).any()
    saved = Folder(source.save(tmp_path / "data"))
    assert len(saved) == 3
    assert (saved.mask(1) == mask).all()
    bare = parse_video(MODEL, FRAMES[:2], tmp_path / "bare", **OPTIONS)
    with pytest.raises(InvalidInputError, match="images=True"):
        pseudo_masks(bare)


def test_the_classes_file_of_pseudo_masks_says_what_a_mirror_exchanges(tmp_path):
    own = Classes("own", ("sea", "port", "starboard"), ((1, 2),))
    parsed = parse_video(MODEL, FRAMES[:1], tmp_path / "walk", images=True, **OPTIONS | {"classes": own})
    assert Folder(pseudo_masks(parsed).save(tmp_path / "data")).classes.flip_pairs == own.flip_pairs


def test_of_more_than_255_classes_an_unsure_pixel_is_65535(tmp_path):
    options = OPTIONS | {"classes": [f"c{number}" for number in range(300)], "window": 1}
    parsed = parse_video(nn.Conv2d(3, 300, 1), FRAMES[:1], tmp_path / "many", images=True, probs=True, **options)
    mask = pseudo_masks(parsed, confidence=0.99).mask(0)
    assert mask.dtype == np.uint16
    assert np.unique(mask).tolist() == [65535]


def test_a_damaged_description_says_so(tmp_path):
    parse_video(MODEL, FRAMES[:2], tmp_path, **OPTIONS)
    about = json.loads((tmp_path / "video.json").read_text())
    (tmp_path / "video.json").write_text(json.dumps(about | {"settings": {}}))
    with pytest.raises(InvalidInputError, match=r"the video\.json of a parsed video"):
        ParsedVideo(tmp_path)
    with pytest.raises(InvalidInputError, match="the folder of a parsed video"):
        ParsedVideo(tmp_path / "masks")


def test_damaged_probabilities_say_so(tmp_path):
    parsed = parse_video(MODEL, FRAMES[:2], tmp_path, probs=True, **OPTIONS)
    path = tmp_path / "probs" / "000000.npz"
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        with contextlib.suppress(InvalidInputError):  # nothing else
            parsed.network_probs(0)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInputError, match="probabilities that can be read; got .*000000.npz"):
        parsed.network_probs(0)


def test_the_command_says_where_a_video_breaks_off(tmp_path, capsys):
    pytest.importorskip("av")
    from types import SimpleNamespace

    path = written(tmp_path / "film.mkv", FRAMES)
    options = SimpleNamespace(
        out=tmp_path / "out",
        window=1,
        overlay=False,
        probs=False,
        batch_size=4,
        device="cpu",
        precision="float32",
        resume=True,
    )
    recipe = Recipe(classes_named(["a", "b", "c"]), (32, 32))
    assert parsed_video(MODEL, path, path.stem, recipe, options, None, {})
    assert "9 frames parsed" in capsys.readouterr().out
    path = path.rename(tmp_path / "other.mkv")
    path.write_bytes(path.read_bytes()[:-700])
    assert parsed_video(MODEL, path, path.stem, recipe, options, None, {}) is False
    assert "other.mkv" in capsys.readouterr().err


def test_frames_before_a_picture_that_cannot_be_read_are_kept(tmp_path):
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    whole = parse_video(MODEL, tmp_path / "frames", tmp_path / "whole", **OPTIONS)
    sound = (tmp_path / "frames" / "5.png").read_bytes()
    (tmp_path / "frames" / "5.png").write_bytes(sound[:60])
    with pytest.warns(UserWarning, match=r"the pictures in .*frames cannot be read after frame 5: .*5.png"):
        parsed = parse_video(MODEL, tmp_path / "frames", tmp_path / "out", **OPTIONS)
    assert len(parsed) == 5
    assert "5.png" in parsed.problem
    (tmp_path / "frames" / "5.png").write_bytes(sound)
    again = parse_video(MODEL, tmp_path / "frames", tmp_path / "out", **OPTIONS)
    assert len(again) == len(FRAMES)
    assert again.problem is None
    assert all((again.mask(index) == whole.mask(index)).all() for index in range(len(FRAMES)))
    (tmp_path / "frames" / "2.png").rename(tmp_path / "elsewhere.png")
    (tmp_path / "frames" / "2.png").symlink_to(tmp_path / "gone.png")  # the frames behind it are no frames 2, 3, ...
    with pytest.warns(UserWarning, match=r"cannot be read after frame 2: .*no file .*2.png"):
        assert len(parse_video(MODEL, tmp_path / "frames", tmp_path / "link", **OPTIONS)) == 2
    (tmp_path / "frames" / "0.png").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"at least one frame; got none in the pictures in .*0.png"):
        parse_video(MODEL, tmp_path / "frames", tmp_path / "none", **OPTIONS)


def stream_of(path, size, count=8):
    """Return a stream of frames of noise, height and width, as MPEG-TS, which may be put one after the other."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = (*size, "yuv420p")
        for index in range(count):
            pixels = np.random.default_rng(index).integers(0, 255, (*size, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()


def test_the_command_goes_on_past_a_video_that_is_none_and_tells_of_other_sizes(tmp_path, capsys, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "good.mkv", FRAMES[:3])
    parts = [stream_of(tmp_path / f"{size}.ts", (size, 48)) for size in (64, 96)]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))  # as cameras write that are switched over
    (tmp_path / "cut.mp4").write_bytes(b"no video" * 9)
    ACE2P(3, backbone="resnet18", width=0.125).save("own.pt", classes=classes_named(["a", "b", "c"]), size=(33, 33))
    words = ["--checkpoint", "own.pt", "--window", "0", "--device", "cpu"]
    assert main(["parse", "cut.mp4", "good.mkv", "both.ts", *words]) == 1
    shown = capsys.readouterr()
    assert "3 frames parsed: parsed/good" in shown.out
    assert "noisycorrect: cut.mp4: expected a video file that can be read" in shown.err
    assert "noisycorrect: both.ts: frame 8 is 96 x 48, those before are 64 x 48 pixels" in shown.err
    assert not (tmp_path / "parsed" / "cut").exists()
    assert main(["parse", "cut.mp4", *words]) == 2  # there is nothing else to do
    assert main(["parse", "gone.mp4", "good.mkv", *words]) == 2
    assert "no file gone.mp4" in capsys.readouterr().err


def test_many_classes_and_other_inputs_are_kept_with_a_video(tmp_path):
    network = nn.Conv2d(3, 300, 1)
    with torch.no_grad():
        network.bias.copy_(torch.where(torch.arange(300) > 280, 9.0, 0.0))
    options = {**OPTIONS, "classes": [f"class {number}" for number in range(300)]}
    rgb = parse_video(network, FRAMES[:3], tmp_path / "rgb", normalisation="rgb", **options)
    assert rgb.mask(0).dtype == np.uint16
    assert rgb.mask(0).min() > 280
    assert rgb.recipe.normalisation == RGB
    expected = parse_frames(network, FRAMES[:3], normalisation="rgb", **without(options, "progress"))
    assert all((rgb.mask(frame.index) == frame.parsing.labels).all() for frame in expected)
    network.normalisation = "rgb"  # as it says itself
    assert len(parse_video(network, FRAMES[:3], tmp_path / "rgb", **options)) == 3
    with pytest.raises(InvalidInputError, match="normalisation .* there, None now"):
        parse_video(network, FRAMES[:3], tmp_path / "rgb", normalisation="bgr", **options)


def without(options, name):
    return {key: value for key, value in options.items() if key != name}
