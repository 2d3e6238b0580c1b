"""The network of a cleaning run: trained on what the evidence says, kept as weights and plain values, used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from noisycorrect.classification import Classification
from noisycorrect.classification.votes import fit_votes
from noisycorrect.correction.known import KnownEvidence
from noisycorrect.corrector import SelfCorrector
from noisycorrect.cycle.schedule import Shares
from noisycorrect.data.votes import Votes
from noisycorrect.features.vote_evidence import decided
from noisycorrect.recipe import RECIPES, Recipe
from noisycorrect.result import CorrectionResult
from noisycorrect.saved.networks import dressed
from noisycorrect.saved.weights import TORCH
from noisycorrect.support.checkpoint import load_checkpoint, load_model_state, save_checkpoint
from noisycorrect.support.checksums import file_digest, is_sealed, sealed
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.files import replace_atomically, write_json
from noisycorrect.support.modules import unwrap
from noisycorrect.support.untrusted import UNREADABLE, check_regular, check_unpacked, parsed_json
from noisycorrect.tables.evidence import Evidence
from noisycorrect.tables.features import Features
from noisycorrect.tables.networks import picture_network, vector_network

DESCRIPTION, ARRAYS = "model.json", "features.npz"
VERSION = 2  # 2: digests
PASSES, FEWEST_EPOCHS, MOST_EPOCHS = 60_000, 5, 60  # rows seen in all, where nobody says how many epochs
PREDICTED_POWER = 0.5  # how far predictions are decided relative to the shares of the classes, as in fit_votes
_ROWS_AT_ONCE = 4096


def epochs_for(rows: int) -> int:
    """Return how many epochs a network is trained on so many rows.

    Examples
    --------
    >>> [epochs_for(rows) for rows in (100, 3000, 100_000)]
    [60, 20, 5]
    """
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, PASSES // rows))


def batch_for(rows: int) -> int:
    """Return how many rows a batch has: 64, fewer where an epoch would be a few steps.

    Examples
    --------
    >>> [batch_for(rows) for rows in (100, 1000, 10_000)]
    [8, 32, 64]
    """
    return 8 if rows < 200 else 16 if rows < 500 else 32 if rows < 2000 else 64


def learn_evidence(
    inputs: np.ndarray,
    given: np.ndarray,
    evidence: Evidence,
    classes: Sequence[str],
    *,
    standardize: bool,
    epochs: int | None,
    seed: int,
    run_dir: Path,
    callbacks: Any = (),
) -> CorrectionResult:
    """Train a network on the probabilities of evidence, in a run folder; go on with what lies there.

    The run's label store has the given labels, and the evidence as its last generation.
    """
    rows = len(given)
    unseen = (evidence.probs == evidence.held_out).all(1)
    correction = KnownEvidence(evidence.probs, targets=evidence.targets, held_out=unseen)
    recipe = RECIPES["ema"].replace(
        correction=correction,
        schedule=Shares(init_share=0.1),
        standardize="auto" if standardize else None,
        reference="noisycorrect: a network learns what features and votes say",
    )
    corrector = SelfCorrector(
        vector_network(inputs.shape[1], len(classes), seed),
        task=Classification(len(classes), allow_empty_classes=True),
        recipe=recipe,
        epochs=epochs or epochs_for(rows),
        batch_size=2 * batch_for(rows),
        lr=0.1 if rows >= 2000 else 0.05,
        seed=seed,
        class_names=classes,
        run_dir=run_dir,
        callbacks=callbacks,
    )
    return corrector.fit((inputs, given))


def learn_labels(
    network: nn.Module,
    inputs: np.ndarray | Dataset[Any],
    given: np.ndarray,
    votes: Votes | None,
    classes: Sequence[str],
    *,
    recipe: str | Recipe,
    epochs: int | None,
    seed: int,
    run_dir: Path,
    callbacks: Any = (),
) -> tuple[CorrectionResult, Evidence]:
    """Train a network on labels or votes by a recipe, and return what the run says of them."""
    corrector = SelfCorrector(
        network,
        task=Classification(len(classes), allow_empty_classes=True),
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_for(len(given)),
        seed=seed,
        class_names=classes,
        run_dir=run_dir,
        callbacks=callbacks,
    )
    if votes is not None:
        found = fit_votes(corrector, inputs, votes)
        probs = found.probs.astype(np.float32)
        return found.correction, Evidence(probs, found.labels, probs, found.annotators(), unseen=False)
    result = corrector.fit((inputs, given) if isinstance(inputs, np.ndarray) else inputs)
    if result.labels.generation:
        probs, labels = result.labels.evidence().float().numpy(), result.labels.labels()
    else:  # a recipe that refines no labels: what the trained network says of them
        probs = _said(result.model, inputs)
        labels = probs.argmax(1)
    return result, Evidence(np.asarray(probs, np.float32), labels, probs, [], unseen=False)


def _said(model: nn.Module, inputs: np.ndarray | Dataset[Any]) -> np.ndarray:
    """Return class probabilities (N, K) of a model for the rows that it was trained on."""
    device, parts = next(model.parameters()).device, []
    count = len(inputs)  # type: ignore[arg-type]
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = range(start, min(start + _ROWS_AT_ONCE, count))
        some = inputs[rows.start : rows.stop] if isinstance(inputs, np.ndarray) else None
        batch = torch.stack([inputs[row][0] for row in rows]) if some is None else torch.from_numpy(some)
        with torch.inference_mode():
            parts.append(torch.softmax(model(batch.to(device)).float(), 1).cpu().numpy())
    return np.concatenate(parts)


@dataclass(eq=False)
class Trained:
    """A trained model with all that it needs to be used again.

    Attributes
    ----------
    classes : tuple of str
        K names.
    shares : ndarray, shape (K,), float64
        Share of each class, which :meth:`predict` takes into account.
    network : nn.Module
        Logits (N, K), in evaluation mode.
    features : Features or None
        Of tables; None of pictures.
    pictures : dict
        Of pictures: ``column``, and ``backbone``, a file or None.
    """

    classes: tuple[str, ...]
    shares: np.ndarray
    network: nn.Module
    features: Features | None
    pictures: dict[str, Any]

    def probs(self, inputs: np.ndarray, progress: Callable[[int], None] | None = None) -> np.ndarray:
        """Return class probabilities, float32 (N, K), of inputs as the network takes them."""
        parts = list(self._parts(inputs, progress))
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def _parts(self, inputs: np.ndarray, progress: Callable[[int], None] | None) -> Iterator[np.ndarray]:
        device = next(self.network.parameters()).device
        for start in range(0, len(inputs), _ROWS_AT_ONCE):
            some = torch.from_numpy(np.array(inputs[start : start + _ROWS_AT_ONCE])).to(device)
            with torch.inference_mode():
                yield torch.softmax(self.network(some).float(), 1).cpu().numpy()
            if progress is not None:
                progress(start + len(some))

    def predict(self, probs: np.ndarray) -> np.ndarray:
        """Return labels, int64 (N,), of probabilities: half-way to the class that is most probable beside its share."""
        return decided(probs, self.shares, PREDICTED_POWER)

    def save(self, folder: Path) -> None:
        """Write weights as tensors, everything else as JSON and arrays: no file can carry code."""
        plain, arrays = ([], {}) if self.features is None else self.features.state()
        inner = unwrap(self.network).state_dict()
        size = None if self.features is None and not self.pictures.get("backbone") else _inputs_of(inner)
        save_checkpoint(folder / TORCH, {"model": inner, "sample_passes": 0})
        with replace_atomically(folder / ARRAYS) as temporary, temporary.open("wb") as file:
            kept: dict[str, Any] = {"shares": self.shares, **arrays}
            np.savez(file, **kept)
        about = {"version": VERSION, "classes": list(self.classes), "inputs": size}
        files = {name: file_digest(folder / name) for name in (TORCH, ARRAYS)}
        content = {**about, "features": plain, "pictures": self.pictures, "files": files}
        write_json(folder / DESCRIPTION, sealed(content))

    @classmethod
    def load(cls, folder: Path) -> Trained:
        """Read what :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If a file is missing or damaged, or of a later version of the package.
        """
        try:
            check_regular(folder / DESCRIPTION, "a trained model's description")
            about = parsed_json((folder / DESCRIPTION).read_text(encoding="utf-8"))
            if about["version"] >= 2:
                _check_digests(folder, about)
            check_unpacked(folder / ARRAYS, "features")
            with (folder / ARRAYS).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if about["version"] > VERSION:
                fix = "update the package"
                raise CheckpointError(f"a model of version {VERSION} or before", got=str(about["version"]), fix=fix)
            classes, shares = tuple(about["classes"]), arrays.pop("shares")
            features = Features.restored(about["features"], arrays) if about["features"] else None
            network = _network(about["inputs"], len(classes))
        except UNREADABLE as error:
            fix = "pass a folder in which `noisycorrect clean` has ended, or restore it from a copy"
            raise CheckpointError(f"a trained model in {folder}", got=str(error), fix=fix) from error
        state = load_checkpoint(folder / TORCH)["model"]
        network = dressed(network, state)
        load_model_state(unwrap(network), state)
        return cls(classes, shares, network.eval(), features, dict(about["pictures"]))


def _check_digests(folder: Path, about: dict[str, Any]) -> None:
    """Raise a ValueError unless the files are those that were saved together."""
    if not is_sealed(about):
        raise ValueError(f"{DESCRIPTION} that its digest does not fit")
    for name, digest in about["files"].items():
        if name not in (TORCH, ARRAYS) or file_digest(folder / name) != digest:
            raise ValueError(f"{name} that its digest in {DESCRIPTION} does not fit")


def _inputs_of(state: dict[str, Any]) -> int:
    """Return how many values a vector network takes."""
    first = next(value for name, value in state.items() if name.endswith("0.weight") and value.dim() == 2)
    return int(first.shape[1])


def _network(inputs: int | None, classes: int) -> nn.Module:
    return picture_network(classes, 0) if inputs is None else vector_network(inputs, classes, 0)
