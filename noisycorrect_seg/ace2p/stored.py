"""Networks that are kept in files, folders and repositories, and come back from there."""

from __future__ import annotations

import os
import tempfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from noisycorrect.support.checkpoint import check_stored, filled_model
from noisycorrect.support.door import door
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p import official
from noisycorrect_seg.ace2p.weights import KIND, is_ours, read_own, read_weights, write_own
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.hub.card import model_card
from noisycorrect_seg.hub.folder import Described, classes_of, plain_classes, size_of, write_folder
from noisycorrect_seg.hub.locate import located
from noisycorrect_seg.hub.released import released_for
from noisycorrect_seg.hub.remote import push_folder
from noisycorrect_seg.inputs import Normalisation, normalisation_named, normalisation_of, plain_normalisation


class StoredNetwork(nn.Module):
    """What :class:`~noisycorrect_seg.ACE2P` can do with files; abstract.

    Attributes
    ----------
    num_classes : int
        K.
    classes : Classes or None
        What the logits mean, where it is known.
    size : (int, int) or None
        Height and width of the input that it was trained on, likewise.
    normalisation : Normalisation, {"bgr", "rgb"} or None
        How values become its input; None is `"bgr"`.
    """

    num_classes: int

    def __init__(self) -> None:
        super().__init__()
        self.classes: Classes | None = None
        self.size: tuple[int, int] | None = None
        self.normalisation: str | Normalisation | None = None

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that build this architecture anew: ``ACE2P(**network.config)``."""

    @door
    def save(
        self, path: str | os.PathLike[str], *, classes: Classes | None = None, size: tuple[int, int] | None = None
    ) -> None:
        """Write architecture and weights to a file, which is either the old one or the new one; and its normalisation.

        Parameters
        ----------
        path : path-like
            The file; of safetensors if it is called ``.safetensors``, else torch's.
        classes : Classes, optional
            What the outputs mean, and
        size : (int, int), optional
            height and width of the input that the network was trained on: for ``noisycorrect parse``. Default: the
            network's own `classes` and `size`.

        Raises
        ------
        InvalidInputError
            If a part was given as an object, there are more or fewer classes than outputs, the size is no pair of whole
            numbers, or safetensors is missing.
        CheckpointError
            If the file cannot be written.
        """
        write_own(Path(path), self.config, self.state_dict(), self._details(classes, size))

    @staticmethod
    @door
    def details(path: str | os.PathLike[str]) -> tuple[Classes | None, tuple[int, int] | None]:
        """Return the classes and the size that :meth:`save` was told; None for what it was not."""
        return _said(read_own(Path(path)), Path(path))[:2]

    @classmethod
    @door
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the network that :meth:`save` wrote, on the CPU, in evaluation mode.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, not written by :meth:`save`, or by a newer version.
        """
        content = read_own(Path(path))
        if content.get("kind") != KIND:
            raise CheckpointError(
                f"a network written by ACE2P.save at {path}",
                got="another checkpoint",
                fix="check the path; a run's weights are in its result.model",
            )
        network = filled_model(cls, content.get("config"), content.get("state"))
        network.classes, network.size, network.normalisation = _said(content, Path(path))
        return network

    @classmethod
    @door
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        classes: str | Classes | Sequence[str] | None = None,
        size: tuple[int, int] | None = None,
        revision: str | None = None,
    ) -> Self:
        """Return a network with trained weights, by name or from where they lie, on the CPU, in evaluation mode.

        No pickled code is run. What is downloaded is kept by the package huggingface_hub (the extra ``hub``), and
        compared with its digest each time.

        Parameters
        ----------
        source : str or path-like
            ``"lip"``, ``"atr"``, ``"pascal"``: what the SCHP authors have released
            (:data:`~noisycorrect_seg.hub.RELEASED`). Or a file, ours or the authors', of torch or safetensors; a folder
            of :meth:`save_pretrained`; a repository of :meth:`push`, ``"owner/name"``.
        classes : str, Classes, or sequence of str, optional
            K of them. Default: what the source says; the authors' lists of as many classes for files of their layout.
        size : (int, int), optional
            Height and width of the input. Default: likewise.
        revision : str, optional
            Branch, tag or commit of a repository.

        Returns
        -------
        ACE2P
            Its `classes` and `size` are those, its `normalisation` that of the source.

        Raises
        ------
        InvalidInputError
            If there is no such thing, a package is missing, or the network has another number of classes.
        CheckpointError
            If something cannot be reached, is damaged or holds pickled code, or is of another network.

        Examples
        --------
        >>> import tempfile
        >>> from noisycorrect_seg.ace2p import ACE2P
        >>> folder = tempfile.mkdtemp()
        >>> ACE2P(7, "resnet18", width=0.125).save_pretrained(folder, classes="pascal", size=(64, 48))
        >>> network = ACE2P.from_pretrained(folder)
        >>> network.classes.name, network.size
        ('pascal', (64, 48))
        """
        found = located(source, revision)
        if found.config is not None or is_ours(found.weights):
            network = cls._own(found)
        else:
            network = cls.from_official(found.weights)
            named = released_for(network.num_classes)
            if named is not None:
                network.classes, network.size = named.classes, named.size
        network.classes = network._checked(classes, found.classes or network.classes)
        network.size = network._sized(size, found.size or network.size)
        network.normalisation = found.normalisation or network.normalisation
        return network

    @classmethod
    def _own(cls, found: Described) -> Self:
        if found.config is None:
            return cls.load(found.weights)
        return filled_model(cls, found.config, read_own(found.weights).get("state"))

    @door
    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        classes: str | Classes | Sequence[str] | None = None,
        size: tuple[int, int] | None = None,
        data: str | None = None,
        licence: str | None = None,
        metrics: Mapping[str, float] | None = None,
        notes: str | None = None,
    ) -> None:
        """Write a folder for :meth:`from_pretrained`: weights as safetensors, ``config.json``, and a model card.

        Parameters
        ----------
        folder : path-like
            Made if there is none.
        classes, size
            Default: the network's own.
        data, licence, metrics, notes
            For the card: see :func:`~noisycorrect_seg.hub.model_card`. What is not passed is said to be not stated.

        Raises
        ------
        InvalidInputError
            If a part was given as an object, there are more or fewer classes than outputs, safetensors is missing, or
            the folder cannot be written.
        """
        named = self._checked(classes, self.classes)
        said = {"data": data, "licence": licence, "metrics": metrics, "notes": notes}
        self._write_folder(Path(folder), Path(folder).resolve().name, None, named, self._sized(size, self.size), said)

    @door
    def push(
        self,
        repo: str,
        *,
        data: str,
        licence: str,
        classes: str | Classes | Sequence[str] | None = None,
        size: tuple[int, int] | None = None,
        metrics: Mapping[str, float] | None = None,
        notes: str | None = None,
        private: bool = True,
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to a repository on the Hugging Face hub; return its address.

        Parameters
        ----------
        repo : str
            ``"owner/name"``; made if there is none.
        data, licence : str
            Nobody may use weights that do not say what they were trained on and what they allow.
        classes, size, metrics, notes
            See :meth:`save_pretrained`.
        private : bool
            Whether a repository that is made is private.

        Raises
        ------
        InvalidInputError
            If the package huggingface_hub is missing, nobody is logged in (``hf auth login``), or the hub refuses; and
            as in :meth:`save_pretrained`.
        """
        named = self._checked(classes, self.classes)
        said = {"data": data, "licence": licence, "metrics": metrics, "notes": notes}
        with tempfile.TemporaryDirectory() as folder:
            self._write_folder(Path(folder), repo, repo, named, self._sized(size, self.size), said)
            return push_folder(Path(folder), repo, private=private, message="Weights of A-CE2P")

    def _write_folder(
        self,
        folder: Path,
        title: str,
        repo: str | None,
        classes: Classes | None,
        size: tuple[int, int] | None,
        said: dict[str, Any],
    ) -> None:
        config, details = self.config, self._details(classes, size)
        card = model_card(
            title,
            network=f"A-CE2P ({config['backbone']}, {config['context']})",
            parameters=sum(parameter.numel() for parameter in self.parameters()),
            classes=classes,
            size=size,
            normalisation=self._shown(),
            load="ACE2P.from_pretrained(PATH)" if repo is None else f'ACE2P.from_pretrained("{repo}")',
            **said,
        )
        write_folder(folder, KIND, {"config": config, **details}, self.state_dict(), card)

    def _details(self, classes: Classes | None, size: tuple[int, int] | None) -> dict[str, Any]:
        size = self._sized(size, self.size)
        return {
            "classes": plain_classes(self._checked(classes, self.classes)),
            "size": None if size is None else list(size),
            "normalisation": plain_normalisation(self._shown()),
        }

    def _shown(self) -> Normalisation | None:
        return None if self.normalisation is None else normalisation_named(self.normalisation)

    def _checked(self, classes: str | Classes | Sequence[str] | None, otherwise: Classes | None) -> Classes | None:
        """Return a class list that fits the outputs."""
        said = otherwise if classes is None else classes
        found = None if said is None else classes_named(said)
        if found is not None and len(found) != self.num_classes:
            raise InvalidInputError(
                f"{self.num_classes} classes, as the network has",
                got=f"{len(found)} of the list {found.name!r}",
                fix="pass the classes= that it was trained on; with_classes() makes a network for others",
            )
        return found

    @staticmethod
    def _sized(size: Any, otherwise: Any) -> tuple[int, int] | None:
        """Return height and width as whole numbers: what is written is read again."""
        said = otherwise if size is None else size
        return None if said is None else checked_size(said, least=1)

    @classmethod
    def from_official(cls, source: str | os.PathLike[str] | Mapping[str, Any]) -> Self:
        r"""Return the network of a checkpoint of the SCHP authors, on the CPU, in evaluation mode.

        Released files of 20, 18 and 7 classes load, and any other of their layout. Logits agree to float32 rounding.
        Their normalisation scales by :math:`|w| + 10^{-5}`, which becomes our weight, computed once in float32.

        Parameters
        ----------
        source : path-like or mapping
            A file, read without running pickled code, or what it holds: ``{"state_dict": ...}`` or the state itself,
            keys with or without ``module.``. A mapping is not changed.

        Raises
        ------
        CheckpointError
            If the file cannot be read, or is of another network; the message names the first key that differs.
        """
        state = read_weights(source)
        check_stored(state)
        network = cls._unfilled({"num_classes": official.num_classes(state)})
        official.load_official(network, state)
        return network.eval()

    def to_official_state_dict(self, prefix: str = "module.") -> dict[str, Tensor]:
        """Return the weights under the official names: what the official code loads, and :meth:`from_official`.

        See :func:`~noisycorrect_seg.ace2p.official.official_state`.
        """
        return official.official_state(self, prefix)

    @classmethod
    def _unfilled(cls, config: Mapping[str, Any]) -> Self:
        """Return a network on the CPU whose weights are still to be set: no time and no random numbers are spent."""
        with torch.device("meta"):
            network = cls(**config)
        return network.to_empty(device="cpu")


def _said(
    content: Mapping[str, Any], path: Path
) -> tuple[Classes | None, tuple[int, int] | None, Normalisation | None]:
    """Return classes, size and normalisation of a file; those of save_pretrained say them in its header."""
    details = content.get("details") or content
    try:
        shown = normalisation_of(details.get("normalisation"))
        return classes_of(details.get("classes")), size_of(details.get("size")), shown
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        expected, fix = "classes, size and normalisation of a network", "download it again, or write it again with save"
        raise CheckpointError(f"{expected} at {path}", got=str(error), fix=fix) from error
