"""Parsing videos: each frame by the model, averaged over time along the motion, written frame by frame."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect.support.modules import evaluating
from noisycorrect.support.progress import samples_progress
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.frame import Size, letterbox
from noisycorrect_seg.inference.calling import as_module, meant_by, shown_to
from noisycorrect_seg.inference.parse import Parsing, Recipe, canonical_crops, crop_logits, on_image
from noisycorrect_seg.inference.running import on_device
from noisycorrect_seg.inference.visualise import overlay as painted
from noisycorrect_seg.inputs import Normalisation
from noisycorrect_seg.video.averaging import Averaging, Frame, averaged, log_probs
from noisycorrect_seg.video.flow import Flow
from noisycorrect_seg.video.folder import ParsedVideo, VideoFolder, settings_of
from noisycorrect_seg.video.identity import Instances, Tracker, instance_map, renumbered, shrunk
from noisycorrect_seg.video.reading import Video, as_frame, opened_video, pyav
from noisycorrect_seg.video.same import begun, check_apart, from_the_start, is_whole
from noisycorrect_seg.video.spelling import spelled
from noisycorrect_seg.video.writing import Clip, kind_of, usual_name

Numbered = tuple[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class ParsedFrame:
    """What was found in a frame.

    Attributes
    ----------
    index : int
        Its place in the video, from 0.
    image : ndarray, shape (H, W, 3), uint8
        The frame, RGB.
    parsing : Parsing
        Its classes, of averaged probabilities.
    people : ndarray, shape (H, W), uint16
        Who is where: 0 nobody.
    """

    index: int
    image: np.ndarray = field(repr=False)
    parsing: Parsing
    people: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class _Work:
    """How frames are parsed, with a model that is in place."""

    model: nn.Module
    recipe: Recipe
    averaging: Averaging
    batch: int
    device: torch.device
    precision: str
    instances: Instances | None
    tracker: Tracker

    def frames(self, images: Iterator[Numbered]) -> Iterator[Frame]:
        """Yield frames with the model's probabilities, a batch at a time."""
        while batch := list(itertools.islice(images, self.batch)):
            crops, _ = canonical_crops([image for _, image in batch], self.recipe.size, self.recipe.normalisation)
            logits = crop_logits(self.model, crops, self.recipe, device=self.device, precision=self.precision)
            for (index, image), crop, each in zip(batch, crops, logits, strict=True):
                yield Frame(index, image, crop, each.softmax(0))

    def averaged(self, images: Iterator[Numbered]) -> Iterator[tuple[Frame, Tensor, Tensor | None]]:
        """Yield frames with their averaged probabilities, and the flow back."""
        return averaged(self.frames(images), self.averaging, motion=self.instances is not None)

    def found(self, frame: Frame, probs: Tensor, back: Tensor | None) -> ParsedFrame:
        """Return what averaged probabilities say of a frame, and who is where."""
        parsing = on_image(log_probs(probs), frame.shape, self.recipe)
        if self.instances is None:
            return ParsedFrame(frame.index, frame.image, parsing, (parsing.labels > 0).astype(np.uint16))
        instances = instance_map(self.instances(frame.image), frame.shape)
        small = shrunk(instances, letterbox(frame.shape, self.recipe.size), self.recipe.size)
        named = self.tracker.update(small, back)
        return ParsedFrame(frame.index, frame.image, parsing, renumbered(instances, named))


@door
def parse_video(
    model: nn.Module,
    video: Any,
    out: str | os.PathLike[str],
    *,
    classes: str | Classes | Sequence[str] | None = None,
    size: Size | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    convention: str = "extractor",
    normalisation: str | Normalisation | None = None,
    window: int | tuple[int, int] = 3,
    flow: str | Flow = "farneback",
    instances: Callable[[np.ndarray], Any] | None = None,
    overlay: bool | str = False,
    images: bool = False,
    probs: bool = False,
    rate: float | None = None,
    resume: bool = True,
    batch_size: int = 4,
    device: str | torch.device = "auto",
    precision: str = "float32",
    progress: bool = True,
) -> ParsedVideo:
    """Parse a video, and write a palette PNG for each frame.

    Each frame is parsed as :func:`~noisycorrect_seg.parse_image` does; class probabilities are then averaged over the
    frames around it along the motion between them, so that masks do not flicker: see
    :class:`~noisycorrect_seg.video.Averaging`. A frame's files are written when it is done, and a call that was killed
    goes on where it stopped, with the same results, bit for bit on a CPU. No more than the window and a batch are in
    memory.

    Parameters
    ----------
    model : nn.Module
        See :func:`~noisycorrect_seg.parse_image`, as for all arguments that are not named here.
    video : path-like, or iterable
        A video file (PyAV, the extra ``video``; GIF, WebP and animated PNG by Pillow), a folder of pictures in order of
        the numbers in their names (frame2.png before frame10.png), or frames: paths, PIL images, uint8 arrays (H, W, 3)
        or (H, W), uint8 tensors (3, H, W) or (H, W, 3). To go on, a call must be given the same frames from the first
        on; others are refused. If frames came to a video that was finished, the call goes on with them.
    out : path-like
        The folder of the results, made if there is none; see :class:`~noisycorrect_seg.video.ParsedVideo`.
    window : int or (int, int)
        How many frames before and after count in a frame's average. 0 parses each by itself; with (6, 0) nothing waits
        for frames to come.
    flow : str or callable
        ``"farneback"``, ``"opencv"`` if it is installed, or a function: from two frames, RGB uint8 (h, w, 3), to the
        displacements of the first's pixels to the second's, (h, w, 2), x first.
    instances : callable, optional
        Who is where in a frame: from RGB uint8 (H, W, 3) to integers (H, W) with 0 for nobody, bool masks (n, H, W), or
        an object with either as ``.instances``. People then keep their numbers over the frames. Default: one person,
        all that is not background.
    overlay : bool or str
        Write the frames with the classes' colours over them, as ``overlay.mp4`` (``overlay.gif`` without PyAV), or
        under a name in `out` whose suffix says the kind.
    images, probs : bool
        Keep the frames and the averaged probabilities, too, for :func:`~noisycorrect_seg.video.pseudo_masks`.
    rate : float, optional
        Frames a second of the overlay. Default: the file's, else 25.
    resume : bool
        Go on with what is in `out`, whose frames are compared with the video's. False replaces it. `instances` and
        `flow` are compared by their names and modules; a lambda, a function within a function or an object cannot be
        told from another, and is refused where there is something to go on with, unless a string as its attribute
        ``digest`` says which it is. So is a network that shows no weights.
    batch_size : int
        Frames in one forward pass; with `flip` their mirrors come on top.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    ParsedVideo
        A video that is cut off or damaged ends with a warning; what was read of it is there, and its ``problem`` says
        where it stopped.

    Raises
    ------
    InvalidInputError
        If the video is none, has no frames or lies where results would, `out` holds results of another video or other
        settings, or files of somebody else in the folders of results, or an argument is out of range.

    Examples
    --------
    >>> import tempfile
    >>> frames = np.random.default_rng(0).integers(0, 256, (5, 30, 40, 3), np.uint8)
    >>> model = nn.Conv2d(3, 2, 1)
    >>> parsed = parse_video(model, frames, tempfile.mkdtemp(), classes=["dark", "bright"], size=(32, 32), window=1)
    >>> parsed, parsed[4].labels.shape
    (ParsedVideo(5 frames), (30, 40))
    """
    model = as_module(model)
    recipe = Recipe(
        *meant_by(model, classes, size), scales, flip, convention, normalisation=shown_to(model, normalisation)
    )
    averaging = averaging_of(window, flow)
    batch = whole_number("batch_size", batch_size, least=1)
    clip = _clip_path(Path(out), overlay)  # before anything there is replaced
    check_apart(video, Path(out), clip)
    found = begun(opened_video(video, rate))
    first = next(found.frames)
    more = {
        "averaging": averaging.spelled(),
        "instances": None if instances is None else spelled(instances),
        "kept": [name for name, kept in (("images", images), ("probs", probs)) if kept],
        "precision": precision,
        "first frame": hashlib.sha256(first.tobytes()).hexdigest()[:16],
    }
    found.frames = itertools.chain([first], found.frames)
    store = VideoFolder(Path(out), settings_of(recipe, model, more), found.rate, resume=resume)
    if store.finished:
        if clip is not None:
            store.note_overlay(clip.name)
        if is_whole(found, store, clip, recipe.classes):
            return ParsedVideo(store.folder)
        found = from_the_start(video, rate, store)
    if clip is not None:
        store.note_overlay(clip.name)
    with (
        on_device(model, device) as place,
        evaluating(model),
        contextlib.nullcontext() if clip is None else Clip(clip, found.rate) as film,
        samples_progress(enabled=progress) as bar,
    ):
        work = _Work(model, recipe, averaging, batch, place, precision, instances, Tracker())
        task = bar.add_task("parsing", total=found.count, completed=store.done)
        for parsed, of_network in _new_frames(work, found, store, film):
            kept = of_network.cpu().numpy() if probs else None
            if instances is not None:
                store.keep_state(parsed.index, work.tracker.state())
            store.write(parsed.index, parsed.parsing, parsed.people, kept, parsed.image if images else None)
            if film is not None:
                film.add(painted(parsed.image, parsed.parsing.labels, recipe.classes))
            bar.advance(task)
    if store.record.grown:
        store.remove_overlays(but=clip)
    store.problem = found.problem
    store.note(finished=True)
    if found.problem is None:
        store.tidy()
    else:
        warn_caller(f"{found.name} {found.problem}; the {store.done} frames before are in {store.folder}")
    return ParsedVideo(store.folder)


@door
def parse_frames(
    model: nn.Module,
    frames: Iterable[Any],
    *,
    classes: str | Classes | Sequence[str] | None = None,
    size: Size | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    convention: str = "extractor",
    normalisation: str | Normalisation | None = None,
    window: int | tuple[int, int] = 3,
    flow: str | Flow = "farneback",
    instances: Callable[[np.ndarray], Any] | None = None,
    batch_size: int = 1,
    device: str | torch.device = "auto",
    precision: str = "float32",
) -> Iterator[ParsedFrame]:
    """Return what is found in frames as they come, of a camera say; nothing is written.

    A frame is there when the frames after it that count in its average have come, and a batch is full.

    Parameters
    ----------
    model, frames
        As for :func:`parse_video`, as are all others.

    Returns
    -------
    iterator of ParsedFrame

    Raises
    ------
    InvalidInputError
        If a frame is none, or an argument is out of range.

    Examples
    --------
    >>> frames = np.zeros((3, 30, 40, 3), np.uint8)
    >>> found = parse_frames(nn.Conv2d(3, 2, 1), frames, classes=["dark", "bright"], size=(32, 32), window=(2, 0))
    >>> [(frame.index, frame.people.shape) for frame in found]
    [(0, (30, 40)), (1, (30, 40)), (2, (30, 40))]
    """
    model = as_module(model)
    recipe = Recipe(
        *meant_by(model, classes, size), scales, flip, convention, normalisation=shown_to(model, normalisation)
    )
    averaging, batch = averaging_of(window, flow), whole_number("batch_size", batch_size, least=1)

    def found() -> Iterator[ParsedFrame]:
        with on_device(model, device) as place, evaluating(model):
            work = _Work(model, recipe, averaging, batch, place, precision, instances, Tracker())
            for frame, mean, back in work.averaged(enumerate(map(as_frame, frames))):
                yield work.found(frame, mean, back)

    return found()


def averaging_of(window: int | tuple[int, int], flow: str | Flow) -> Averaging:
    """Return the averaging over a window: as many frames before as after, or (before, after).

    Examples
    --------
    >>> averaging_of((4, 0), "farneback").reach
    5
    """
    if isinstance(window, (tuple, list)):
        if len(window) != 2:
            raise InvalidInputError("a window as a number or (before, after)", got=repr(window), fix="pass 3, say")
        return Averaging(*window, flow=flow)
    number = whole_number("window", window, least=0)
    return Averaging(number, number, flow=flow)


def _clip_path(folder: Path, overlay: bool | str) -> Path | None:
    if not overlay:
        return None
    name = overlay if isinstance(overlay, str) else usual_name()
    if Path(name).name != name:
        raise InvalidInputError("overlay=True, or a file name such as 'overlay.gif'", got=repr(overlay))
    if kind_of(name) != "gif":
        pyav()
    return folder / name


def _new_frames(
    work: _Work, found: Video, store: VideoFolder, film: Clip | None
) -> Iterator[tuple[ParsedFrame, Tensor]]:
    """Yield the frames that are not done yet; the model begins as many earlier as count in the first one's average.

    At the border of a batch, so that the batches are those of a run that was not interrupted.
    """
    done, before = store.done, max(work.averaging.before, 1)
    start = max(0, done - before) // work.batch * work.batch
    if done and work.instances is not None:
        state = store.state(done - 1)
        if state is None:
            start = done = store.done = 0  # identities cannot go on: all again
        else:
            work.tracker.restore(state)
    images = _images(found, store, done, start, work.recipe.classes, film)
    for frame, mean, back in work.averaged(images):
        if frame.index >= done:
            yield work.found(frame, mean, back), mean


def _images(
    found: Video, store: VideoFolder, done: int, start: int, classes: Classes, film: Clip | None
) -> Iterator[Numbered]:
    """Yield frames from `start` on, numbered; those done go into the film as they are passed."""
    last: Size | None = None
    parsed = ParsedVideo(store.folder) if done and film is not None else None
    count = 0
    for index, image in enumerate(found.frames):
        count = index + 1
        store.record.read(index, image)
        shape = image.shape[0], image.shape[1]
        if shape != last:
            if last is not None and len(store.sizes) == 1:
                warn_caller(
                    f"frame {index} is {shape[0]} x {shape[1]}, those before are {last[0]} x {last[1]} pixels: "
                    "averages begin anew where the size changes, and masks have their frames' sizes"
                )
            if store.sizes.get(str(index)) != list(shape):
                store.sizes[str(index)] = list(shape)
                store.note(finished=False)
            last = shape
        if film is not None and parsed is not None and index < done:
            film.add(painted(image, parsed.mask(index), classes))
        if index >= start:
            yield index, image
    store.record.ended(count, found.problem)
