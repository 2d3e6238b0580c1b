from __future__ import annotations

import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.lab.datasets import Benchmark, load, stratified_subset
from benchmarks.lab.features import hog_features
from benchmarks.lab.networks import build, mlp, preact_resnet18, small_cnn
from noisycorrect.support.errors import InvalidInputError

TRAIN, TEST = 40, 10


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOISYCORRECT_CACHE", str(tmp_path / "cache"))


def labels_of(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return (np.arange(count) % 10).astype(np.uint8)


def pixels(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    # Flat colours survive JPEG almost unchanged.
    colours = np.random.default_rng(seed).integers(0, 256, (count, 1, 1, 3), dtype=np.uint8)
    return np.broadcast_to(colours, (count, 32, 32, 3)).copy()


def jpeg(image: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_jpegs(path: Path, codes: list[bytes]) -> None:
    offsets = np.cumsum([0, *map(len, codes)], dtype=np.int64)
    np.savez(path, data=np.frombuffer(b"".join(codes), np.uint8), offsets=offsets)


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    folder = tmp_path / "jpegs"
    folder.mkdir()
    for split, count, seed in (("train", TRAIN, 0), ("test", TEST, 1)):
        write_jpegs(folder / f"{split}_jpeg.npz", [jpeg(image) for image in pixels(count, seed)])
        np.save(folder / f"labels_clean_{split}.npy", labels_of(count))
    noisy = labels_of(TRAIN)
    noisy[:4] = 9
    np.save(folder / "labels_human_aggregate.npy", noisy)
    return folder


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    folder = tmp_path / "public" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = pixels(TRAIN, 0).transpose(0, 3, 1, 2).reshape(5, -1, 3072)
    names = [f"data_batch_{number}" for number in range(1, 6)]
    parts = zip(
        [*names, "test_batch"], [*images, pixels(TEST, 1).transpose(0, 3, 1, 2).reshape(TEST, 3072)], strict=True
    )
    for place, (name, data) in enumerate(parts):
        labels = labels_of(TRAIN)[8 * place : 8 * place + 8] if place < 5 else labels_of(TEST)
        batch = {b"data": data, b"labels": labels.tolist(), b"filenames": [b"x.png"]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=4))
    return folder


def write_human(folder: Path, **more: Any) -> None:
    worst = (labels_of(TRAIN).astype(np.int64) + 1) % 10
    torch.save(
        {"clean_label": labels_of(TRAIN).astype(np.int64), "worse_label": worst, **more}, folder / "CIFAR-10_human.pt"
    )


def test_digits_are_split_once_for_all_and_standardised() -> None:
    first, second = load("digits", seed=0), load("digits", seed=1)
    assert (first.train_inputs.shape, first.test_inputs.shape) == ((1347, 64), (450, 64))
    assert torch.equal(first.test_inputs, second.test_inputs)
    assert first.train_inputs.dtype == torch.float32
    assert first.train_labels.dtype == np.int64
    assert first.train_inputs.mean().item() == pytest.approx(0, abs=1e-5)
    assert first.train_inputs.std().item() == pytest.approx(1, abs=1e-3)
    assert np.bincount(first.test_labels).min() >= 43
    assert first.human_labels == {}
    raw = load("digits", standardise=False)
    assert not raw.standardised
    assert (raw.train_inputs.min().item(), raw.train_inputs.max().item()) == (0.0, 1.0)
    assert torch.allclose((raw.test_inputs - raw.mean) / raw.std, first.test_inputs), "one statistic for both"


def test_both_layouts_of_cifar10_give_the_same_data(jpegs: Path, batches: Path) -> None:
    one, other = (load("cifar10", folder, standardise=False) for folder in (jpegs, batches.parent))
    assert one.train_inputs.shape == (TRAIN, 3, 32, 32)
    assert (one.train_inputs - other.train_inputs).abs().max().item() < 5 / 255
    assert (one.test_inputs - other.test_inputs).abs().max().item() < 5 / 255
    expected = torch.from_numpy(pixels(TRAIN, 0).transpose(0, 3, 1, 2) / np.float32(255))
    assert torch.allclose(other.train_inputs, expected), "channels first, in [0, 1]"
    for benchmark in (one, other):
        assert benchmark.train_labels.tolist() == labels_of(TRAIN).tolist()
        assert benchmark.test_labels.tolist() == labels_of(TEST).tolist()
        assert benchmark.class_names[3] == "cat"
    assert list(one.human_labels) == ["aggregate"]
    assert (one.human_labels["aggregate"] != one.train_labels).sum() == 4


def test_the_batches_folder_itself_is_accepted(batches: Path) -> None:
    assert load("cifar10", batches).train_inputs.shape == (TRAIN, 3, 32, 32)


def test_images_are_standardised_per_channel_with_statistics_of_the_kept_samples(jpegs: Path) -> None:
    kept = load("cifar10", jpegs, subset=20)
    assert torch.allclose(kept.train_inputs.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5), "mean"
    assert torch.allclose(kept.train_inputs.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-4), "deviation"
    assert kept.mean.shape == (1, 3, 1, 1)


def test_a_subset_keeps_the_proportions_and_says_which_samples_it_holds(jpegs: Path) -> None:
    whole, kept = load("cifar10", jpegs, standardise=False), load("cifar10", jpegs, subset=20, standardise=False)
    assert np.bincount(kept.train_labels).tolist() == [2] * 10
    assert torch.equal(kept.train_inputs, whole.train_inputs[torch.from_numpy(kept.train_index)])
    assert np.array_equal(kept.human_labels["aggregate"], whole.human_labels["aggregate"][kept.train_index])
    assert np.array_equal(kept.train_index, load("cifar10", jpegs, subset=20).train_index)
    assert not np.array_equal(kept.train_index, load("cifar10", jpegs, subset=20, seed=1).train_index)


def test_unequal_classes_get_their_largest_remainders() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 21])
    drawn = stratified_subset(labels, 10, seed=0)
    assert np.bincount(labels[drawn]).tolist() == [5, 3, 2]
    assert (np.diff(drawn) > 0).all()
    assert np.isin(drawn, stratified_subset(labels, 20, seed=0)).all()


def test_decoded_images_are_cached_and_a_spoilt_cache_is_mended(
    jpegs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("cifar10", jpegs)
    stored = sorted((tmp_path / "cache").iterdir())
    assert [path.name.split("-")[0] for path in stored] == ["test_jpeg", "train_jpeg"]
    stored[1].write_bytes(stored[1].read_bytes()[:5000])
    assert torch.equal(load("cifar10", jpegs).train_inputs, first.train_inputs)

    monkeypatch.setattr("benchmarks.lab.datasets._decode", None)  # a further load must not decode
    assert torch.equal(load("cifar10", jpegs).train_inputs, first.train_inputs)


def test_an_unwritable_cache_is_said_but_does_not_stop_the_load(jpegs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="is not kept in"):
        read = load("cifar10", jpegs, cache_dir=tmp_path / "file" / "cache")
    assert len(read.train_labels) == TRAIN


def test_batches_written_by_python_2_are_read(batches: Path) -> None:
    data = np.full((8, 3072), 200, np.uint8)
    text = lambda value: b"U" + bytes([len(value)]) + value  # noqa: E731
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR"
    dtype = (
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    state = b"(K\x01K\x08M\x00\x0c\x86" + dtype + b"\x89T" + struct.pack("<I", data.nbytes) + data.tobytes() + b"tb"
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in range(8)) + b"e"
    content = b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + labels + b"u."
    (batches / "data_batch_1").write_bytes(content)
    loaded = load("cifar10", batches, standardise=False)
    assert loaded.train_inputs[:8].unique().tolist() == pytest.approx([200 / 255])


class Malicious:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("true",)


@pytest.mark.parametrize("file", ["data_batch_3", "CIFAR-10_human.pt"])
def test_a_pickle_that_calls_anything_else_is_refused(batches: Path, file: str) -> None:
    if file.endswith(".pt"):
        torch.save({"clean_label": Malicious()}, batches / file)
    else:
        (batches / file).write_bytes(pickle.dumps({b"data": Malicious()}))
    with pytest.raises(InvalidInputError, match=rf"{file}; got (UnpicklingError|a pickle that could run code)"):
        load("cifar10", batches)


@pytest.mark.parametrize("place", ["inside", "beside"])
def test_the_published_human_labels_are_found_and_named(batches: Path, place: str) -> None:
    write_human(batches if place == "inside" else batches.parent, random_label1=torch.tensor(labels_of(TRAIN)))
    human = load("cifar10", batches.parent).human_labels
    assert sorted(human) == ["random1", "worst"]
    assert human["worst"].tolist() == ((labels_of(TRAIN) + 1) % 10).tolist()


def test_human_labels_of_images_in_another_order_are_refused(batches: Path) -> None:
    write_human(batches, clean_label=labels_of(TRAIN)[::-1].astype(np.int64))
    with pytest.raises(InvalidInputError, match="use the training images in their published order"):
        load("cifar10", batches)


def spoil_jpeg(folder: Path) -> None:
    codes = [jpeg(image) for image in pixels(TRAIN, 0)]
    codes[7] = codes[7][:40]
    write_jpegs(folder / "train_jpeg.npz", codes)


def small_image(folder: Path) -> None:
    write_jpegs(folder / "train_jpeg.npz", [jpeg(np.zeros((16, 16, 3), np.uint8))] * TRAIN)


def truncate(folder: Path) -> None:
    path = folder / "train_jpeg.npz"
    path.write_bytes(path.read_bytes()[:2000])


def wrong_offsets(folder: Path) -> None:
    np.savez(folder / "train_jpeg.npz", data=np.zeros(10, np.uint8), offsets=np.array([0, 5, 12]))


def pickled_labels(folder: Path) -> None:
    np.save(folder / "labels_clean_train.npy", np.array([1, "a"], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_jpeg, "a JPEG at index 7 in .*train_jpeg.npz"),
        (small_image, r"a 32x32 RGB image at index 0 .* got shape \(16, 16, 3\)"),
        (truncate, "an archive of `data` and `offsets` in .*train_jpeg.npz; got BadZipFile"),
        (wrong_offsets, "increasing offsets from 0 to 10"),
        (pickled_labels, "an array of labels in .*; got ValueError"),
        (lambda folder: (folder / "test_jpeg.npz").unlink(), "the file .*test_jpeg.npz; got no such file"),
        (lambda folder: np.save(folder / "labels_clean_train.npy", labels_of(39)), "40 train labels in .*; got 39"),
        (lambda folder: np.save(folder / "labels_human_x.npy", labels_of(39)), "40 human labels 'x' in .*; got 39"),
        (lambda folder: np.save(folder / "labels_human_x.npy", np.arange(40)), "labels 0..9 in .*; got 10 at index 10"),
        (lambda folder: np.save(folder / "labels_human_x.npy", np.zeros(40)), "one integer a sample in .* got float64"),
    ],
)
def test_damaged_folders(jpegs: Path, spoil: Callable[[Path], Any], message: str) -> None:
    spoil(jpegs)
    with pytest.raises(InvalidInputError, match=message):
        load("cifar10", jpegs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a batch of the Python version of CIFAR-10 in .*data_batch_2; got EOFError"),
        (pickle.dumps([1]), "got AttributeError"),
        (pickle.dumps({"labels": [1]}), "got KeyError"),
        (pickle.dumps({"labels": [11], "data": 0}), "labels 0..9 in .*; got 11 at index 0"),
        (pickle.dumps({"labels": [1], "data": np.zeros((2, 3072), np.uint8)}, 4), r"uint8 \(1, 3072\) data in"),
    ],
)
def test_damaged_batches(batches: Path, content: bytes, message: str) -> None:
    (batches / "data_batch_2").write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        load("cifar10", batches)


@pytest.mark.parametrize("subset", [0, 9, 41, 2.5, True])
def test_impossible_subsets(jpegs: Path, subset: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"a subset of 10\.\.40 training samples"):
        load("cifar10", jpegs, subset=subset)


def test_missing_folders_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="pass --data-dir"):
        load("cifar10")
    with pytest.raises(InvalidInputError, match="which is no folder"):
        load("cifar10", tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match="got none of them"):
        load("cifar10", tmp_path)
    with pytest.raises(InvalidInputError, match="did you mean 'digits'"):
        load("digit")


@pytest.fixture
def images() -> Benchmark:
    inputs, labels = torch.zeros(10, 3, 32, 32), np.arange(10)
    names = tuple("0123456789")
    return Benchmark("images", 10, inputs, labels, inputs, labels, names, {}, labels, torch.zeros(1), torch.ones(1))


def test_networks_have_the_layout_they_promise(images: Benchmark) -> None:
    for network in (mlp(12, 7), mlp(12, 7, 8, depth=1, batch_norm=False)):
        assert network(torch.zeros(2, 3, 4)).shape == (2, 7)
    assert not any(isinstance(layer, torch.nn.BatchNorm1d) for layer in mlp(12, 7, batch_norm=False))
    for image_network in (small_cnn(7), preact_resnet18(7, width=8)):
        assert image_network(images.train_inputs[:2]).shape == (2, 7)
    assert sum(weight.numel() for weight in preact_resnet18(10).parameters()) == 11_172_170  # 11.17 M, as published


def test_build_depends_on_the_seed_alone_and_leaves_the_global_state(images: Benchmark) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build("auto", images, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [network[0].weight for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert isinstance(one[0], torch.nn.Conv2d)
    assert isinstance(build("auto", load("digits"), 0)[0], torch.nn.Flatten)


def test_build_refuses_what_cannot_work(images: Benchmark) -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'small_cnn'"):
        build("small_cn", images, 0)
    with pytest.raises(InvalidInputError, match="images of 3 channels for small_cnn"):
        build("small_cnn", load("digits"), 0)
    assert build("mlp", images, 0)(images.train_inputs).shape == (10, 10)


def test_hog_features_are_standardised_each_and_stored_once(
    jpegs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load("cifar10", jpegs, standardise=False)
    data = load("cifar10-hog", jpegs)
    expected = hog_features(images.train_inputs)
    varied = expected.std(0, correction=0) > 0
    centred = (expected - expected.mean(0))[:, varied]
    torch.testing.assert_close(data.train_inputs[:, varied], centred / centred.std(0, correction=0), atol=1e-3, rtol=0)
    torch.testing.assert_close(data.test_inputs * data.std + data.mean, hog_features(images.test_inputs))
    assert np.array_equal(data.train_labels, images.train_labels)
    assert list(data.human_labels) == ["aggregate"]
    assert len(list((tmp_path / "cache").glob("hog-*.npy"))) == 2

    monkeypatch.setattr("benchmarks.lab.features.orientation_votes", None)  # nothing is computed again
    monkeypatch.setattr("benchmarks.lab.features.hog_features", lambda images: torch.zeros(len(images), 372))
    assert torch.equal(load("cifar10-hog", jpegs).train_inputs, data.train_inputs)


def test_a_subset_of_hog_features_has_statistics_of_its_own(jpegs: Path) -> None:
    data = load("cifar10-hog", jpegs, subset=20)
    assert data.train_inputs.shape == (20, 372)
    assert data.train_inputs.mean(0).abs().max() < 1e-4
