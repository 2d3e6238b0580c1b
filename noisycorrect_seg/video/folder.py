"""The folder of a parsed video: a file a frame, each whole or not there, and what the run was."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from PIL import Image
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import leftovers, read_json, replace_atomically, write_json
from noisycorrect.support.untrusted import UNREADABLE
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.images import opened, read_image, read_mask
from noisycorrect_seg.inference.parse import Parsing, Recipe, on_image
from noisycorrect_seg.inference.visualise import save_mask, save_picture
from noisycorrect_seg.inputs import BGR, normalisation_of, plain_normalisation
from noisycorrect_seg.masks import IGNORE_INDEX, mask_dtype
from noisycorrect_seg.video.averaging import log_probs
from noisycorrect_seg.video.record import FrameRecord, other_video
from noisycorrect_seg.video.spelling import UNTOLD
from noisycorrect_seg.video.writing import USUAL_OVERLAYS, kind_of

ABOUT, MASKS, PEOPLE, PROBS, IMAGES = "video.json", "masks", "people", "probs", "images"
TRACKER = "tracker-{:06d}.npz"
FRAMES = "frames.digests"
FORMAT = 1
EARLIER = {"precision": "float32"}  # settings that folders of earlier versions say nothing of
KINDS = {MASKS: "png", PEOPLE: "png", PROBS: "npz", IMAGES: "png"}  # folders of results, and what lies in them


@final
class ParsedVideo:
    """The results of :func:`parse_video`, read from its folder when they are asked for.

    ::

        parsed/
            video.json            what was parsed, and how
            frames.digests        of which frames, 16 bytes each: what a run that goes on is compared with
            masks/000000.png      palette PNGs, a frame each
            people/000000.png     who is where, 16-bit: 0 nobody, 1 the first person, ...
            probs/000000.npz      class probabilities in the network's frame, float16, if they were asked for
            images/000000.png     the frames, if they were asked for
            overlay.mp4           if it was asked for

    Parameters
    ----------
    folder : path-like
        What :func:`parse_video` wrote.

    Attributes
    ----------
    folder : Path
        Where it lies.
    classes : Classes
        The classes.
    rate : float
        Frames a second.
    finished : bool
        Whether all frames are there that could be read.
    problem : str or None
        Why the video could not be read to its end, and where it stopped.
    sizes : dict of int to (int, int)
        Height and width of the frames from each place on where they change.
    network : str
        Digest of the network's weights.

    Raises
    ------
    InvalidInputError
        If there is no parsed video, or it is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        about = _about(self.folder)
        if about is None:
            raise InvalidInputError("the folder of a parsed video", got=f"no {ABOUT} in {folder}", fix="check the path")
        self.recipe, self.rate = recipe_of(about["settings"]), float(about["rate"])
        self.classes = self.recipe.classes
        self.network = str(about["settings"]["network"])
        self.finished, self.problem = bool(about["finished"]), about["problem"]
        self._count = frames_done(self.folder)
        self.sizes = {int(place): (size[0], size[1]) for place, size in about["sizes"].items()}

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        state = "" if self.finished else ", not finished"
        return f"ParsedVideo({self._count} frames{state}{f', {self.problem}' if self.problem else ''})"

    def __getitem__(self, index: int) -> Parsing:
        """Return what was found in a frame; its probabilities if they were kept."""
        labels = self.mask(index)
        probs = self.network_probs(index)
        if probs is None:
            return Parsing(labels, None, self.classes)
        logits = log_probs(torch.from_numpy(probs.astype(np.float32)))
        shape = labels.shape[0], labels.shape[1]
        return Parsing(labels, on_image(logits, shape, self.recipe, probs=True).probs, self.classes)

    def __iter__(self) -> Iterator[Parsing]:
        return (self[index] for index in range(len(self)))

    def mask(self, index: int) -> np.ndarray:
        """Return a frame's classes, uint8 (H, W), or uint16 of more than 255 classes."""
        number = len(self.classes)
        found = read_mask(self._file(MASKS, index, ".png"), indices=True, wide=number > IGNORE_INDEX)
        return found.astype(mask_dtype(number), copy=False)

    def people(self, index: int) -> np.ndarray:
        """Return who is where in a frame, uint16 (H, W): 0 nobody."""
        with opened(self._file(PEOPLE, index, ".png")) as image:
            return np.array(image).astype(np.uint16)

    def image(self, index: int) -> np.ndarray:
        """Return a frame, RGB uint8 (H, W, 3).

        Raises
        ------
        InvalidInputError
            If the frames were not kept.
        """
        path = self._file(IMAGES, index, ".png")
        if not path.exists():
            raise InvalidInputError("kept frames", got=f"none in {self.folder}", fix="parse_video(..., images=True)")
        return read_image(path)

    def network_probs(self, index: int) -> np.ndarray | None:
        """Return the averaged class probabilities in the network's frame, float16 (K, h, w); None if not kept."""
        path = self._file(PROBS, index, ".npz")
        if not path.exists():
            return None
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return np.asarray(arrays["probs"])
        except UNREADABLE as error:
            raise InvalidInputError(
                "probabilities that can be read", got=f"{path}: {error}", fix="parse anew"
            ) from error

    def _file(self, kind: str, index: int, suffix: str) -> Path:
        if not -self._count <= index < self._count:
            raise IndexError(f"frame {index} of {self._count}")
        return self.folder / kind / f"{index % self._count:06d}{suffix}"


class VideoFolder:
    """The folder while it is being written: each file is whole or not there, a frame's mask is its last.

    Parameters
    ----------
    folder : Path
        Made if there is none.
    settings : dict
        What results depend on, as plain values; results of other settings are refused.
    resume : bool
        Go on with what is there; else it is removed.

    Attributes
    ----------
    done : int
        How many frames are there.
    record : FrameRecord
        Which frames were read.
    finished : bool
        Whether the results are those of a whole video.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], rate: float, *, resume: bool) -> None:
        self.folder, self.settings, self.rate = folder, dict(settings), rate
        self.sizes: dict[str, list[int]] = {}
        self.overlays: list[str] = []
        about = _about(folder)
        if about is None:
            _check_free(folder)
        try:
            for kind in (MASKS, PEOPLE):
                (folder / kind).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(f"to write into {folder}", got=str(error), fix="choose another folder") from error
        self.record = FrameRecord(folder / FRAMES)
        self.overlays = [] if about is None else about["overlays"]
        if not resume:
            self._remove()
        elif about is not None:
            _compare(about["settings"], self.settings, folder)
            if frames_done(folder):
                _check_told(self.settings, folder)
            self.sizes = about["sizes"]
            if not len(self.record) and frames_done(folder):
                raise other_video(folder, f"no {FRAMES} that says of which frames they are")
        self.done = self._done()
        self.problem: str | None = None
        self._said_finished = False
        self.finished = False
        if not resume or about is None:
            self.note(finished=False)
            return
        self.problem, self._said_finished = about["problem"], about["finished"]
        self.finished = self._said_finished and self.problem is None
        if self.problem is not None:
            # Frames that may come now would have counted in the last masks. They stay until others take their place.
            self.done = max(0, self.done - int(self.settings["averaging"]["after"]))

    def note(self, *, finished: bool) -> None:
        """Write what is known of the run."""
        self._said_finished = finished
        about = {"format": FORMAT, "settings": self.settings, "rate": self.rate, "sizes": self.sizes}
        about |= {"overlays": self.overlays, "finished": finished, "problem": self.problem}
        write_json(self.folder / ABOUT, about)

    def note_overlay(self, name: str) -> None:
        """Write that there will be a film of a name."""
        if name not in self.overlays:
            self.overlays.append(name)
            self.note(finished=self._said_finished)

    def reopen(self) -> None:
        """Go on with a finished video to which frames came; films of the frames before would lack them."""
        self.remove_overlays()
        for index in range(max(0, self.done - int(self.settings["averaging"]["after"])), self.done):
            (self.folder / MASKS / f"{index:06d}.png").unlink(missing_ok=True)  # the frames that came count in them
        self.done = self._done()
        self.finished = False
        self.note(finished=False)

    def write(
        self, index: int, parsing: Parsing, people: np.ndarray, probs: np.ndarray | None, image: np.ndarray | None
    ) -> None:
        """Write a frame's results, the mask last."""
        name = f"{index:06d}"
        if self._said_finished:
            self.note(finished=False)
        try:
            if probs is not None:
                self._arrays(PROBS, f"{name}.npz", {"probs": probs.astype(np.float16)})
            if image is not None:
                (self.folder / IMAGES).mkdir(exist_ok=True)
                save_picture(self.folder / IMAGES / f"{name}.png", Image.fromarray(image), "PNG", compress_level=1)
            save_picture(self.folder / PEOPLE / f"{name}.png", Image.fromarray(people), "PNG")
            save_mask(self.folder / MASKS / f"{name}.png", parsing.labels, parsing.classes)
        except OSError as error:
            raise InvalidInputError(
                f"to write frame {index} into {self.folder}",
                got=str(error),
                fix="free space; the frames before are whole, and the same call goes on after them",
            ) from error
        self.done = max(self.done, index + 1)

    def keep_state(self, index: int, state: Mapping[str, np.ndarray]) -> None:
        """Keep a tracker's state after a frame, as long as a run may go on from there."""
        self._arrays("", TRACKER.format(index), state)
        old = index - 2 - int(self.settings["averaging"]["after"])
        (self.folder / TRACKER.format(old)).unlink(missing_ok=True)

    def state(self, index: int) -> dict[str, np.ndarray] | None:
        """Return a tracker's state after a frame; None if it is not there."""
        path = self.folder / TRACKER.format(index)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return dict(arrays)
        except UNREADABLE:
            return None

    def tidy(self) -> None:
        """Remove what only a run that goes on needs, and what killed ones have left."""
        for path in self.folder.glob("tracker-*.npz"):
            path.unlink(missing_ok=True)
        for kind in ("", MASKS, PEOPLE, PROBS, IMAGES):
            where = self.folder / kind
            names = [path.name.split(".")[1] + "." + path.name.split(".")[2] for path in where.glob(".*.part")]
            for path in leftovers(where, *set(names)):
                path.unlink(missing_ok=True)

    def _arrays(self, kind: str, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        (self.folder / kind).mkdir(exist_ok=True)
        named: dict[str, Any] = dict(arrays)
        with replace_atomically(self.folder / kind / name) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **named)

    def _done(self) -> int:
        return min(frames_done(self.folder), len(self.record))

    def _remove(self) -> None:
        """Remove a parsed video's files, and nothing else."""
        for kind, suffix in KINDS.items():
            for path in (self.folder / kind).glob(f"[0-9]*.{suffix}"):
                if re.fullmatch(r"\d{6,}", path.stem):
                    path.unlink()
        self.record.forget()
        self.remove_overlays()
        self.tidy()
        (self.folder / ABOUT).unlink(missing_ok=True)  # it says whose files these were

    def remove_overlays(self, *, but: Path | None = None) -> None:
        """Remove films of what the masks were before."""
        for name in self.overlays:
            if but is None or name != but.name:
                (self.folder / name).unlink(missing_ok=True)
        self.overlays = [] if but is None else [but.name]


def frames_done(folder: Path) -> int:
    """Return how many frames from the first on have their mask."""
    names = {path.name for path in (folder / MASKS).glob("[0-9]*.png")}
    return next(number for number in range(len(names) + 1) if f"{number:06d}.png" not in names)


def settings_of(recipe: Recipe, model: nn.Module, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a video's results depend on, as JSON says it."""
    classes = recipe.classes
    return {
        "classes": [classes.name, list(classes.names), [list(pair) for pair in classes.flip_pairs]],
        "size": list(recipe.size),
        "scales": list(recipe.scales),
        "flip": recipe.flip,
        "convention": recipe.convention,
        "official_centres": recipe.official_centres,
        "network": digest_of(model),
        # Folders of earlier versions say nothing of it.
        "normalisation": None if recipe.normalisation == BGR else plain_normalisation(recipe.normalisation),
        **more,
    }


def recipe_of(settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe that settings spell."""
    name, names, pairs = settings["classes"]
    classes = Classes(name, tuple(names), tuple((int(one), int(other)) for one, other in pairs))
    size = settings["size"]
    return Recipe(
        classes,
        (size[0], size[1]),
        tuple(settings["scales"]),
        settings["flip"],
        settings["convention"],
        settings["official_centres"],
        normalisation_of(settings.get("normalisation")) or BGR,
    )


def digest_of(model: nn.Module) -> str:
    """Return a digest of a network's weights and statistics; one that is run from a file has its own.

    One that shows no weights, as it has none or keeps them elsewhere, cannot be told from another of its class.
    """
    own = getattr(model, "digest", None)
    if isinstance(own, str):
        return own
    digest = hashlib.sha256()
    tensors = {name: values for name, values in model.state_dict().items() if isinstance(values, torch.Tensor)}
    if not tensors:
        return f"{UNTOLD}{type(model).__qualname__}"
    for name, values in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _about(folder: Path) -> Any:
    path = folder / ABOUT
    if not path.exists():
        return None
    try:
        about = read_json(path)
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}")
        recipe_of(about["settings"])
        found = {name: about[name] for name in ("settings", "rate", "finished", "problem", "sizes")}
        # Earlier versions did not say them. None but names in the folder are ours.
        said = about.get("overlays", USUAL_OVERLAYS)
        found["overlays"] = [name for name in said if Path(name).name == name and kind_of(name)]
        return found
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InvalidInputError(
            f"the {ABOUT} of a parsed video", got=f"{path}: {error}", fix="parse into another folder"
        ) from error


def _check_free(folder: Path) -> None:
    """Raise if files of somebody else lie where results would: they would be replaced, or taken for results."""
    for kind in KINDS:
        if (folder / kind).is_dir() and any((folder / kind).iterdir()):
            raise InvalidInputError(
                f"an empty folder, or one of a parsed video, at {folder}",
                got=f"other files in {folder / kind}",
                fix="choose another folder",
            )


def _check_told(settings: Mapping[str, Any], folder: Path) -> None:
    """Raise unless it can be told whether functions and network are those that results are of."""
    own = {name: settings[name] for name in ("instances", "network")} | {"flow": settings["averaging"]["flow"]}
    for name, function in own.items():
        if function is not None and function.startswith(UNTOLD):
            raise InvalidInputError(
                f"to know whether {folder} holds results of the same {name}",
                got=f"{name}={function.removeprefix(UNTOLD)}, which may be another one by that name",
                fix="pass a function of a module, or an object with a string as its digest; "
                "or replace what is there with resume=False",
            )


def films_in(folder: Path) -> list[str]:
    """Return the names of the films that a parsed video's folder says are its own."""
    about = _about(folder)
    return [] if about is None else list(about["overlays"])


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for name, value in now.items():
        there = before.get(name, EARLIER.get(name))
        if there != value:
            raise other_video(folder, f"{name} {there!r} there, {value!r} now")
