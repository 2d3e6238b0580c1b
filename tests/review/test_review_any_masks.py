"""The review of masks of many classes, over pictures that no browser shows as they are."""

import base64
import io

import numpy as np
import pytest
import torch
from cleaning_runs import items_of, write_run
from PIL import Image, ImageOps
from scipy import ndimage
from test_review_server import served

from noisycorrect import SoftLabelStore
from noisycorrect.cli import main
from noisycorrect.review.report.thumbnails import thumbnail
from noisycorrect_seg.colours import lab
from noisycorrect_seg.datasets.images import read_mask
from noisycorrect_seg.datasets.rasters import ORIENTATION
from noisycorrect_seg.geometry.frame import letterbox
from noisycorrect_seg.geometry.warp import warp_mask
from noisycorrect_seg.sessions import write_mask_items

NAMES = ["background", *(f"class {number}" for number in range(1, 300))]
SHAPE = (32, 48)


def scene(channels, dtype):
    """Return an image that is bright on the left half, in few of the values that its dtype has; infrared is the 4th."""
    rng = np.random.default_rng(channels)
    light = np.where(np.arange(SHAPE[1]) < SHAPE[1] // 2, 6_000.0, 2_000.0)[None, :, None]
    image = light * np.linspace(1.0, 0.5, channels) + rng.normal(0, 50, (*SHAPE, channels))
    image[..., 3:] = 0 if dtype != np.float32 else np.nan  # never shown
    return image.astype(dtype)


@pytest.fixture
def run_dir(tmp_path):
    """A run of 300 classes over images of several kinds: class 290 is given where the evidence says 257 and 1."""
    given = np.zeros(SHAPE, np.uint16)
    given[4:14, 4:14], given[18:28, 30:40], given[0, 0] = 290, 290, 65535
    evidence = torch.zeros(1, 300, *SHAPE)
    evidence[:, 0] = 1
    for number, rows, columns in ((257, slice(4, 14), slice(4, 14)), (1, slice(18, 28), slice(30, 40))):
        evidence[:, 0, rows, columns] = 0
        evidence[:, number, rows, columns] = 1
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(scene(1, np.uint16)[..., 0]).save(pictures / "grey.png")
    Image.fromarray(scene(1, np.uint16)[..., 0]).save(pictures / "grey.tif")
    np.save(pictures / "five.npy", scene(5, np.uint16))
    np.save(pictures / "float.npy", scene(6, np.float32))
    names = ["grey.png", "grey.tif", "five.npy", "float.npy"]
    tifffile = pytest.importorskip("tifffile", reason="needs tifffile")
    tifffile.imwrite(pictures / "five.tif", scene(5, np.uint16), photometric="minisblack", planarconfig="contig")
    names.append("five.tif")
    count = len(names)
    store = SoftLabelStore.create(tmp_path / "run" / "labels", [given] * count, 300, kind="segmentation")
    with store.new_generation(trust=torch.full((count,), 0.1)) as writer:
        for index in range(count):
            writer.write([index], evidence)
    paths = [pictures / name for name in names]
    write_mask_items(tmp_path / "run", NAMES, ids=[name.replace(".", "-") for name in names], images=paths)
    return tmp_path / "run"


def test_pictures_are_stretched_and_have_three_channels(run_dir):
    with served(run_dir) as client:
        for at in range(5):
            answer, content = client.ask(f"picture/{at}")
            assert (answer.status, answer.getheader("Content-Type")) == (200, "image/jpeg"), at
            with Image.open(io.BytesIO(content)) as picture:
                pixels = np.asarray(picture.convert("RGB")).astype(int)
            assert pixels.shape == (*SHAPE, 3)
            left, right = pixels[:, :20].mean((0, 1)), pixels[:, -20:].mean((0, 1))
            assert left[0] > 225, at
            assert (left - right > (80 if at > 1 else 200)).all(), at
            assert (np.ptp(left) < 2) == (at < 2)  # grey, or the first three of its channels


def test_panels_of_a_report_and_thumbnails_are_stretched_too(run_dir):
    store = SoftLabelStore.open(run_dir / "labels")
    view = store.kind.region_view(store.given, store.labels)
    pictures = run_dir.parent / "pictures"
    for name in ("grey.png", "five.npy", "five.tif"):
        with Image.open(io.BytesIO(view.panels(0, pictures / name, side=48)[0][1])) as image:
            assert image.getpixel((1, 30))[0] - image.getpixel((46, 2))[0] > 120
    uri, _ = thumbnail(pictures / "grey.png")
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        assert image.getpixel((2, 2))[0] - image.getpixel((45, 2))[0] > 200


def test_colours_of_300_classes_are_told_apart(run_dir):
    with served(run_dir) as client:
        colours = np.array(client.json("api/run")[1]["colours"], np.uint8)
        with Image.open(io.BytesIO(client.ask("layer/0/given")[1])) as picture:
            layer = np.asarray(picture)
        with Image.open(io.BytesIO(client.ask("layer/0/corrected")[1])) as picture:
            corrected = np.asarray(picture)
    assert layer[5, 5].tolist() == [*colours[290], 255]
    assert corrected[5, 5].tolist() == [*colours[257], 255]
    assert corrected[20, 35].tolist() == [*colours[1], 255]
    assert layer[0, 0, 3] == layer[2, 2, 3] == 0
    apart = np.linalg.norm(lab(colours)[:, None] - lab(colours)[None], axis=2)
    apart[np.diag_indices(300)] = np.inf
    assert apart.min() > 5  # about twice what people can see
    assert lab(colours[1:])[:, 0].min() > 20  # none is taken for the background


def test_decisions_land_in_the_export(run_dir, tmp_path, capsys):
    with served(run_dir) as client:
        (item,) = client.json("api/items?at=0")[1]["items"]
        assert item["given"] == "class 290"
        regions = {region["suggested"]: region["id"] for region in item["regions"]["regions"]}
        assert set(regions) == {1, 257}
        chosen = {"accepted": [regions[257]], "rejected": [regions[1]]}
        assert client.decide(0, "accept", regions=chosen)[0] == 200
        assert client.decide(1, "keep")[0] == 200
    assert main(["export", str(run_dir), str(tmp_path / "out")]) == 0
    assert "5 labels (2 decided)" in capsys.readouterr().out
    found = [read_mask(tmp_path / "out" / f"{name}.png", wide=True) for name in ("grey-png", "grey-tif", "five-npy")]
    assert [(mask[5, 5], mask[20, 35], mask[0, 0]) for mask in found] == [
        (257, 290, 65535), (290, 290, 65535), (257, 1, 65535)
    ]  # fmt: skip
    assert (tmp_path / "out" / "classes.txt").read_text().splitlines() == NAMES


def test_a_photo_lies_under_its_mask_as_it_was_drawn(tmp_path):
    """Its upper half is red as it is stored, 24 x 32, and its right one as it is shown, 32 x 24."""
    stored = np.zeros((24, 32, 3), np.uint8)
    stored[:12, :, 0] = 250
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(stored).save(tmp_path / "photo.jpg", exif=exif)
    masks = [np.zeros((24, 32), np.uint8), np.zeros((32, 24), np.uint8)]
    evidence = torch.eye(3)[torch.zeros(24, 32, dtype=torch.long)].permute(2, 0, 1)[None]
    store = SoftLabelStore.create(tmp_path / "run" / "labels", masks, 3, kind="segmentation")
    with store.new_generation() as writer:
        for row in range(2):
            writer.write([row], evidence)
    write_mask_items(tmp_path / "run", ["background", "cat", "dog"], images=["../photo.jpg"] * 2)
    view = store.kind.region_view(store.given, store.labels)
    for row, shape in enumerate([(24, 32), (32, 24)]):
        with served(tmp_path / "run") as client:
            content = client.ask(f"picture/{row}")[1]
        panel = view.panels(row, tmp_path / "photo.jpg", side=32)[0][1]
        for found in (content, panel):
            with Image.open(io.BytesIO(found)) as image:
                red = np.asarray(ImageOps.exif_transpose(image))[..., 0]
            upper, right = red[: red.shape[0] // 3].min(), red[:, -red.shape[1] // 3 :].min()
            assert (upper > 200, right > 200) == ((True, False) if row == 0 else (False, True))
        with Image.open(io.BytesIO(content)) as image:
            assert np.asarray(ImageOps.exif_transpose(image)).shape[:2] == shape


@pytest.mark.parametrize(("shape", "frame"), [((20, 60), (32, 32)), ((60, 20), (24, 40)), ((300, 500), (48, 32))])
@pytest.mark.parametrize("suffix", ["png", "npy", "turned"])
def test_a_photo_without_a_mask_lies_in_the_frame_as_the_evidence_does(tmp_path, shape, frame, suffix):
    """A cat is where the photo is white, and so says the evidence."""
    height, width = shape
    cat = np.zeros(shape, np.uint8)
    cat[height // 4 : 3 * height // 4, width // 6 : 2 * width // 3] = 1
    path = save_white(tmp_path, cat, suffix)
    seen = warp_mask(cat, letterbox(shape, frame), frame, border=0)
    store = SoftLabelStore.create(tmp_path / "run" / "labels", [None], 2, kind="segmentation")
    with store.new_generation() as writer:
        writer.write([0], torch.eye(2)[torch.from_numpy(seen).long()].permute(2, 0, 1)[None])
    write_mask_items(tmp_path / "run", ["background", "cat"], images=[path])
    view = store.kind.region_view(store.given, store.labels)
    assert (view.corrected(0) == seen).all()
    with served(tmp_path / "run") as client:
        content = client.ask("picture/0")[1]
    inside = ndimage.binary_dilation(seen) == ndimage.binary_erosion(seen)
    assert (inside & (seen == 1)).any()
    for found in (content, view.panels(0, path, side=max(frame))[0][1]):
        with Image.open(io.BytesIO(found)) as image:
            white = np.asarray(image.convert("L").resize(frame[::-1], Image.Resampling.BOX)) > 128
        assert (white == seen)[inside].all()


def save_white(folder, mask, suffix):
    """Return a file of a picture that is white where the mask is 1; as PNG, as an array, or as PNG on its side."""
    pixels = np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2)
    if suffix == "npy":
        np.save(folder / "photo.npy", pixels)
        return folder / "photo.npy"
    exif = Image.Exif()
    exif[ORIENTATION] = 6 if suffix == "turned" else 1
    stored = np.ascontiguousarray(np.rot90(pixels)) if suffix == "turned" else pixels
    Image.fromarray(stored).save(folder / "photo.png", exif=exif)
    return folder / "photo.png"


def test_a_damaged_array_is_said_and_a_plain_review_shows_16_bits(run_dir, tmp_path):
    (run_dir.parent / "pictures" / "five.npy").write_bytes(b"no array")
    with served(run_dir) as client:
        status, said = client.json("picture/2")
        assert status == 404
        assert "an array of numbers (.npy)" in said["error"]
    grey = str(run_dir.parent / "pictures" / "grey.png")
    write_run(tmp_path / "plain", items_of(image=[grey] * 12), kind="image")
    with served(tmp_path / "plain") as client:
        answer, content = client.ask("picture/0")
        assert answer.getheader("Content-Type") == "image/jpeg"
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.getpixel((2, 2))[0] - picture.getpixel((45, 2))[0] > 200
