"""Going on with a video: what is the same video, and what is not."""

import functools
import json

import numpy as np
import pytest
from PIL import Image
from small_film import FILM, FRAMES, MODEL, OPTIONS
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.video import Clip, ParsedVideo, parse_video


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".png", ".npz")
    }


BLACK = np.zeros_like(FRAMES[0])


@pytest.mark.parametrize("stops", [None, 6])
def test_another_video_that_begins_alike_is_refused(tmp_path, stops):
    def breaking():
        yield from [BLACK, *FRAMES[:stops]]
        raise KeyboardInterrupt

    if stops is None:
        parse_video(MODEL, [BLACK, *FRAMES[:6]], tmp_path, **OPTIONS)
    else:
        with pytest.raises(KeyboardInterrupt):
            parse_video(MODEL, breaking(), tmp_path, **OPTIONS)
    before = files_of(tmp_path)
    assert before
    other = [BLACK, *FRAMES[:5], BLACK]  # its last one alone: it counted in the averages of those before
    with pytest.raises(InvalidInputError, match="same video and settings; got frame 6, which is another .* resume=Fal"):
        parse_video(MODEL, other, tmp_path, **OPTIONS)
    assert {name: files_of(tmp_path)[name] for name in before} == before
    with pytest.raises(InvalidInputError, match="got 3 frames where 7 were read before"):
        parse_video(MODEL, other[:3], tmp_path, **OPTIONS)
    anew = parse_video(MODEL, other, tmp_path, resume=False, **OPTIONS)
    alone = parse_video(MODEL, other, tmp_path / "alone", **OPTIONS)
    assert all((anew.mask(index) == alone.mask(index)).all() for index in range(7))


def people_in(frame):
    return FILM.people(next(index for index, each in enumerate(FRAMES) if (each == frame).all()))


@pytest.mark.parametrize("more", [{}, {"instances": people_in, "overlay": "film.gif"}])
def test_a_video_that_has_grown_goes_on(tmp_path, more):
    options = OPTIONS | more
    parse_video(MODEL, FRAMES[:4], tmp_path / "parts", **options)
    with pytest.raises(InvalidInputError, match="the 4 frames that were parsed as the whole video; got an iterator"):
        parse_video(MODEL, iter(FRAMES), tmp_path / "parts", **options)
    grown = parse_video(MODEL, FRAMES, tmp_path / "parts", **options)
    assert grown.finished
    assert len(grown) == len(FRAMES)
    parse_video(MODEL, FRAMES, tmp_path / "whole", **options)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    if more:
        assert (tmp_path / "parts" / "film.gif").read_bytes() == (tmp_path / "whole" / "film.gif").read_bytes()


def test_what_can_be_gone_through_once_costs_nothing_when_it_has_grown(tmp_path):
    class Once:
        def __init__(self, frames):
            self.frames = iter(frames)

        def __iter__(self):
            return self.frames

    parse_video(MODEL, Once(FRAMES[:4]), tmp_path, **OPTIONS)
    with pytest.raises(InvalidInputError, match="frame 0, which is another"):
        parse_video(MODEL, Once(FRAMES), tmp_path, **OPTIONS)
    assert len(ParsedVideo(tmp_path)) == 4
    assert ParsedVideo(tmp_path).finished


def test_an_overlay_is_made_of_a_finished_video_without_the_network(tmp_path):
    parse_video(MODEL, FRAMES[:3], tmp_path / "one", overlay="film.gif", **OPTIONS)
    parse_video(MODEL, FRAMES[:3], tmp_path / "other", **OPTIONS)
    parse_video(MODEL, iter(FRAMES[:3]), tmp_path / "other", overlay="film.gif", **OPTIONS)
    assert (tmp_path / "one" / "film.gif").read_bytes() == (tmp_path / "other" / "film.gif").read_bytes()


def test_results_that_do_not_say_of_which_frames_they_are_are_refused(tmp_path):
    parse_video(MODEL, FRAMES[:3], tmp_path, **OPTIONS)
    (tmp_path / "frames.digests").unlink()
    with pytest.raises(InvalidInputError, match=r"no frames\.digests that says of which frames they are"):
        parse_video(MODEL, FRAMES[:3], tmp_path, **OPTIONS)
    assert len(ParsedVideo(tmp_path)) == 3
    assert len(parse_video(MODEL, FRAMES[:3], tmp_path, resume=False, **OPTIONS)) == 3


def nobody(frame, size=1):
    return np.zeros(frame.shape[:2], int)


def still(one, other):
    return np.zeros((*one.shape[:2], 2))


def refused_forms():
    def within(*frames):
        return nobody(frames[0])

    class Detector:
        def __call__(self, frame):
            return nobody(frame)

        def find(self, frame):
            return nobody(frame)

    return [
        lambda frame: nobody(frame),
        within,
        functools.partial(within),
        functools.partial(nobody, size=np.ones(3)),
        Detector(),
        Detector().find,
    ]


@pytest.mark.parametrize("form", range(6))
def test_a_detector_that_may_be_another_one_is_refused(tmp_path, form):
    parse_video(MODEL, FRAMES[:2], tmp_path, instances=refused_forms()[form], **OPTIONS)
    with pytest.raises(InvalidInputError, match=r"of the same instances; got instances=.* resume=False"):
        parse_video(MODEL, FRAMES[:2], tmp_path, instances=refused_forms()[form], **OPTIONS)


def test_a_flow_that_may_be_another_one_is_refused_and_a_named_one_is_known(tmp_path):
    options = {**OPTIONS, "window": 1}
    parse_video(MODEL, FRAMES[:2], tmp_path, flow=lambda one, other: still(one, other), **options)
    with pytest.raises(InvalidInputError, match="got flow=.*<lambda>, which may be another one by that name"):
        parse_video(MODEL, FRAMES[:2], tmp_path, flow=lambda one, other: 0 * still(one, other), **options)
    for again in (False, True):
        parse_video(MODEL, FRAMES[:2], tmp_path, flow=still, resume=again, **options)


class Told:
    def __init__(self, digest):
        self.digest = digest

    def __call__(self, frame):
        return nobody(frame)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nobody, people_in),
        (functools.partial(nobody, size=2), functools.partial(nobody, size=3)),
        (Told("a"), Told("b")),
    ],
)
def test_a_detector_that_can_be_told_is_compared(tmp_path, one, other):
    parse_video(MODEL, FRAMES[:2], tmp_path, instances=one, **OPTIONS)
    assert len(parse_video(MODEL, FRAMES[:2], tmp_path, instances=one, **OPTIONS)) == 2
    with pytest.raises(InvalidInputError, match=r"instances .* there, .* now"):
        parse_video(MODEL, FRAMES[:2], tmp_path, instances=other, **OPTIONS)


@pytest.mark.parametrize("resume", [False, True])
def test_a_film_that_lay_there_before_is_somebody_elses(tmp_path, resume):
    (tmp_path / "overlay.gif").touch()
    parse_video(MODEL, FRAMES[:2], tmp_path, resume=resume, **OPTIONS)
    parse_video(MODEL, FRAMES[:3], tmp_path, **OPTIONS)
    assert (tmp_path / "overlay.gif").exists()


def test_films_of_earlier_versions_are_replaced_too(tmp_path):
    parse_video(MODEL, FRAMES[:2], tmp_path, overlay="overlay.gif", **OPTIONS)
    about = json.loads((tmp_path / "video.json").read_text())
    del about["overlays"]
    (tmp_path / "video.json").write_text(json.dumps(about))
    parse_video(MODEL, FRAMES[:2], tmp_path, resume=False, **OPTIONS)
    assert not (tmp_path / "overlay.gif").exists()


def test_films_of_replaced_masks_go_with_them(tmp_path):
    parse_video(MODEL, FRAMES[:3], tmp_path, overlay="film.gif", **OPTIONS)
    parse_video(MODEL, FRAMES[:3], tmp_path, overlay="overlay.gif", **OPTIONS)
    (tmp_path / "mine.gif").touch()
    about = json.loads((tmp_path / "video.json").read_text())
    assert about["finished"]
    outside = tmp_path.parent / "outside.gif"
    outside.touch()
    (tmp_path / "video.json").write_text(json.dumps(about | {"overlays": [*about["overlays"], "../outside.gif"]}))
    parse_video(MODEL, FRAMES[3:5], tmp_path, resume=False, **OPTIONS)
    assert [path.name for path in tmp_path.glob("*.gif")] == ["mine.gif"]
    assert outside.exists()
    parse_video(MODEL, FRAMES[3:5], tmp_path, overlay="film.gif", **OPTIONS)
    parse_video(MODEL, FRAMES[3:6], tmp_path, **OPTIONS)  # it has grown
    assert [path.name for path in tmp_path.glob("*.gif")] == ["mine.gif"]


class Weightless(nn.Module):
    def forward(self, images):
        return images


def test_a_network_that_shows_no_weights_may_be_another_one(tmp_path):
    """As one that runs elsewhere, or whose weights are constants of a frozen script."""
    parse_video(Weightless(), FRAMES[:2], tmp_path, **OPTIONS)
    with pytest.raises(InvalidInputError, match="of the same network; got network=Weightless, which may be another"):
        parse_video(Weightless(), FRAMES[:2], tmp_path, **OPTIONS)
    told = Weightless()
    told.digest = "weights of May"
    for again in (False, True):
        assert len(parse_video(told, FRAMES[:2], tmp_path, resume=again, **OPTIONS)) == 2


def test_results_of_two_precisions_are_not_mixed(tmp_path):
    parse_video(MODEL, FRAMES[:2], tmp_path, **OPTIONS)
    with pytest.raises(InvalidInputError, match="got precision 'float32' there, 'bfloat16' now"):
        parse_video(MODEL, FRAMES[:3], tmp_path, precision="bfloat16", **OPTIONS)
    about = json.loads((tmp_path / "video.json").read_text())
    del about["settings"]["precision"]  # as earlier versions wrote it
    (tmp_path / "video.json").write_text(json.dumps(about))
    assert len(parse_video(MODEL, FRAMES[:3], tmp_path, **OPTIONS)) == 3


def stored(folder, names):
    folder.mkdir(parents=True)
    for name, frame in zip(names, FRAMES, strict=False):
        Image.fromarray(frame).save(folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("more", [{"images": True}, {"images": False}, {"resume": False}])
@pytest.mark.parametrize("kind", ["images", "people", "probs"])
def test_frames_of_the_callers_are_not_replaced_by_results(tmp_path, kind, more):
    """Not removed, not written over, and not taken for the frames that were kept, whose names are one less."""
    before = stored(tmp_path / kind, ["000001.png", "000002.png", "000003.png"])
    for video in (tmp_path / kind, sorted((tmp_path / kind).iterdir()), FRAMES[:3]):
        with pytest.raises(InvalidInputError, match=f"{kind}; to fix: "):
            parse_video(MODEL, video, tmp_path, **OPTIONS, **more)
        assert {path.name: path.read_bytes() for path in (tmp_path / kind).iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [kind]


def test_frames_that_were_kept_are_not_parsed_into_the_same_folder(tmp_path):
    parse_video(MODEL, FRAMES[:3], tmp_path, images=True, **OPTIONS)
    (tmp_path / "images" / "7 of mine.png").touch()
    with pytest.raises(InvalidInputError, match="a folder of its own for results; got .*: frames are in .*images"):
        parse_video(MODEL, tmp_path / "images", tmp_path, resume=False, **OPTIONS)
    assert len(list((tmp_path / "images").iterdir())) == 4
    parse_video(MODEL, FRAMES[3:5], tmp_path, resume=False, **OPTIONS)
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["7 of mine.png"]


@pytest.mark.parametrize("own", [False, True])
def test_a_film_is_not_replaced_by_its_own_overlay(tmp_path, own):
    with Clip(tmp_path / "film.gif", rate=10) as clip:
        for frame in FRAMES[:3]:
            clip.add(frame)
    more = {"overlay": "film.gif"}
    if own:  # a film that was made of these results, which resume=False would remove
        (tmp_path / "film.gif").unlink()
        parse_video(MODEL, FRAMES[:3], tmp_path, **OPTIONS, **more)
        more = {"resume": False}
    before = (tmp_path / "film.gif").read_bytes()
    with pytest.raises(InvalidInputError, match="a video that is no film of these results; got .*film.gif"):
        parse_video(MODEL, tmp_path / "film.gif", tmp_path, **OPTIONS, **more)
    assert (tmp_path / "film.gif").read_bytes() == before


def folder_of(folder, damaged):
    folder.mkdir()
    for index, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(folder / f"{index}.png")
    (folder / f"{damaged}.png").write_bytes(b"damaged")
    return folder


def test_a_refused_video_costs_one_that_was_cut_off_nothing(tmp_path):
    with pytest.warns(UserWarning, match="cannot be read after frame 6"):
        parse_video(MODEL, folder_of(tmp_path / "frames", 6), tmp_path / "out", overlay="film.gif", **OPTIONS)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(InvalidInputError, match="frame 1, which is another"):
        parse_video(MODEL, [FRAMES[0], BLACK, *FRAMES[2:]], tmp_path / "out", **OPTIONS)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    Image.fromarray(FRAMES[6]).save(tmp_path / "frames" / "6.png")

    whole = parse_video(MODEL, FRAMES, tmp_path / "whole", **OPTIONS)
    found = parse_video(MODEL, tmp_path / "frames", tmp_path / "out", **OPTIONS)
    assert (found.finished, found.problem, len(found)) == (True, None, len(FRAMES))
    assert files_of(found.folder) == files_of(whole.folder)
    assert not (tmp_path / "out" / "film.gif").exists()  # of six frames


def test_a_mended_video_that_is_killed_goes_on_once_more(tmp_path):
    def frames(until, stop):
        yield from FRAMES[:until]
        raise stop

    with pytest.warns(UserWarning, match="cannot be read after frame 5"):
        parse_video(MODEL, folder_of(tmp_path / "frames", 5), tmp_path / "out", **OPTIONS)
    for until in (6, 8):
        with pytest.raises(KeyboardInterrupt):
            parse_video(MODEL, frames(until, KeyboardInterrupt), tmp_path / "out", **OPTIONS)
        assert ParsedVideo(tmp_path / "out").mask(4).shape == FRAMES[0].shape[:2]
    parse_video(MODEL, FRAMES, tmp_path / "out", **OPTIONS)
    parse_video(MODEL, FRAMES, tmp_path / "whole", **OPTIONS)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
