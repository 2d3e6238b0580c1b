"""Human labels: the published file's format, folders, arrays, and files that are not to be trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noisycorrect.classification import noise
from noisycorrect.support.errors import InvalidInputError

_rng = np.random.default_rng(3)
CLEAN = _rng.integers(0, 10, 50)
SETS = {
    "aggregate": ("aggre_label", _rng.integers(0, 10, 50)),
    "random1": ("random_label1", _rng.integers(0, 10, 50)),
    "random2": ("random_label2", _rng.integers(0, 10, 50)),
    "random3": ("random_label3", _rng.integers(0, 10, 50)),
    "worst": ("worse_label", _rng.integers(0, 10, 50)),
}


def published() -> dict[str, np.ndarray]:
    return {"clean_label": CLEAN, **dict(SETS.values())}


@pytest.fixture
def pt_file(tmp_path: Path) -> Path:
    path = tmp_path / "CIFAR-10_human.pt"
    torch.save(published(), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "labels_clean_train.npy", CLEAN.astype(np.uint8))
    for name, (_, labels) in SETS.items():
        np.save(tmp_path / f"labels_human_{name}.npy", labels.astype(np.uint8))
    return tmp_path


def run(source: Any, key: str | None = None, labels: Any = CLEAN) -> noise.NoisyLabels:
    return noise.Human(source, key).apply(labels, num_classes=10, seed=0)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", ["pt_file", "folder"])
def test_both_formats_by_both_names(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    source = request.getfixturevalue(kind)
    key, expected = SETS[name]
    for spelled in (name, key):
        result = run(source, spelled)
        assert np.array_equal(result.labels, expected)
        assert result.details["source"] == str(source)
        assert result.details["key"] == name
        assert result.details["right_labels_checked"] is True
    assert np.array_equal(noise.parse(f"human:{name}", labels_or_path=str(source)).apply(
        CLEAN, num_classes=10, seed=1).labels, expected)  # fmt: skip


def test_a_file_written_by_numpy_1_in_the_old_torch_format(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save(published(), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core.multiarray\n_reconstruct" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    assert np.array_equal(run(path, "worst").labels, SETS["worst"][1])


def test_tensors_in_a_pt_file_and_cifar100n(tmp_path: Path) -> None:
    path = tmp_path / "CIFAR-100_human.pt"
    torch.save({"clean_label": torch.from_numpy(CLEAN), "noisy_label": torch.from_numpy(SETS["worst"][1])}, path)
    assert np.array_equal(run(path, "noisy").labels, SETS["worst"][1])


def test_a_npy_file_and_an_array_hold_one_set(folder: Path) -> None:
    expected = SETS["random2"][1]
    for source in (folder / "labels_human_random2.npy", expected, expected.tolist(), torch.from_numpy(expected)):
        result = run(source)
        assert np.array_equal(result.labels, expected)
        assert result.details["right_labels_checked"] is False
        with pytest.raises(InvalidInputError, match=r"which .* one set; to fix: leave the key out"):
            run(source, "random2")


def test_a_folder_without_right_labels(folder: Path) -> None:
    (folder / "labels_clean_train.npy").unlink()
    assert run(folder, "worst").details["right_labels_checked"] is False


@pytest.mark.parametrize("kind", ["pt_file", "folder"])
def test_labels_in_another_order_are_found(kind: str, request: pytest.FixtureRequest) -> None:
    shuffled = CLEAN.copy()
    first, second = 4, int(np.flatnonzero(CLEAN[4] != CLEAN)[-1])
    shuffled[[first, second]] = shuffled[[second, first]]
    index = min(first, second)
    message = f"got {shuffled[index]} against {CLEAN[index]} at index {index} .2 differ in all.*torchvision"
    with pytest.raises(InvalidInputError, match=message):
        run(request.getfixturevalue(kind), "worst", labels=shuffled)


@pytest.mark.parametrize("kind", ["pt_file", "folder"])
def test_a_subset_is_told_to_be_taken_afterwards(kind: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(InvalidInputError, match=r"as many human labels as labels, 49; got 50; .* then take the subset"):
        run(request.getfixturevalue(kind), "worst", labels=CLEAN[:-1])


def test_human_labels_are_checked_like_labels(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"human labels in 0\.\.9; got 10 at index 1"):
        run([0, 10], labels=[0, 1])
    np.save(tmp_path / "soft.npy", np.zeros(50))
    with pytest.raises(InvalidInputError, match="integer human labels; got dtype float64"):
        run(tmp_path / "soft.npy")
    torch.save({"worse_label": CLEAN, "clean_label": CLEAN[:, None]}, tmp_path / "column.pt")
    with pytest.raises(InvalidInputError, match=r"right labels in the file of shape \(N,\); got shape \(50, 1\)"):
        run(tmp_path / "column.pt", "worst")
    torch.save({"worse_label": CLEAN, "clean_label": CLEAN[:-1]}, tmp_path / "short.pt")
    with pytest.raises(InvalidInputError, match="as many right labels in the file as labels, 50; got 49"):
        run(tmp_path / "short.pt", "worst")


def test_unknown_and_missing_keys(pt_file: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="set of human labels; got 'wrost'; to fix: did you mean 'worst'"):
        noise.Human(pt_file, "wrost")
    for source in (pt_file, folder):
        with pytest.raises(
            InvalidInputError, match=r"a key that chooses one set .* pass key=, one of aggregate, random1"
        ):
            run(source)
        with pytest.raises(InvalidInputError, match=r"set of human labels in .* got 'noisy'"):
            run(source, "noisy")
    with pytest.raises(
        InvalidInputError, match=r"human labels, or the file or folder .* parse\('human:random1', labels_or_path=path\)"
    ):
        run(None, "random1")


def _touch(path: str) -> None:
    Path(path).touch()


class _Bomb:
    """Unpickled, it calls a function with one argument."""

    def __init__(self, function: Callable[[str], Any], argument: Path) -> None:
        self.call = function, (str(argument),)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("function.pt", r"\S+\._touch"),
        ("blocked.pt", r"\w+\.mkdir"),
        ("object.pt", r"<class 'numpy\.dtypes\.ObjectDType'>"),
        ("object.npy", "object arrays"),
    ],
)
def test_pickles_that_could_run_code_are_refused_unrun(tmp_path: Path, name: str, refused: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / name
    bomb = _Bomb(os.mkdir if name == "blocked.pt" else _touch, marker)
    if name == "object.npy":
        np.save(path, np.array([0, bomb], dtype=object))
    elif name == "object.pt":
        torch.save({"worse_label": np.array([0, None], dtype=object)}, path)
    else:
        torch.save({"worse_label": CLEAN, "extra": bomb}, path)
    message = rf"plain integer arrays .* that could run code when opened \({refused}\); to fix: get the file from its"
    with pytest.raises(InvalidInputError, match=message):
        run(path, None if name.endswith("npy") else "worst")
    assert not marker.exists()


def test_reading_leaves_torchs_allow_list_as_it_was(pt_file: Path) -> None:
    before = set(torch.serialization.get_safe_globals())  # torch keeps a set, and lists it in any order
    run(pt_file, "worst")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("keep", [0, 1, 20, 300, -40])
@pytest.mark.parametrize("new_format", [True, False])
def test_damaged_pt_files(tmp_path: Path, keep: int, new_format: bool) -> None:
    path = tmp_path / "cut.pt"
    torch.save(published(), path, _use_new_zipfile_serialization=new_format)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidInputError, match=r"a whole \.pt file .* got a damaged one .* to fix: copy or download"):
        run(path, "worst")


@pytest.mark.parametrize("keep", [0, 3, 60, -8])
def test_damaged_npy_files(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.npy"
    np.save(path, CLEAN)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InvalidInputError, match=r"a whole \.npy file .* got a damaged one"):
        run(path)


def test_other_sources(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("0\n1\n")
    torch.save(torch.from_numpy(CLEAN), tmp_path / "bare.pt")
    for source, key, message in (
        (tmp_path / "none.pt", "worst", "which is not there"),
        (tmp_path / "labels.csv", None, "a .npy file, a .pt file or a folder"),
        (tmp_path / "bare.pt", "worst", "a dictionary of label sets .* got Tensor"),
        (tmp_path, None, "one of none"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            run(source, key)
