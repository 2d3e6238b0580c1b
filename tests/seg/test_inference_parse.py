"""Whole images: round trips, conventions, and what is given back as it was."""

import numpy as np
import pytest
import torch
from colour_coding import EIGHT, ReadsColours, coloured, random_mask
from PIL import Image
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.crops import invert
from noisycorrect_seg.geometry.warp import warp_mask
from noisycorrect_seg.inference import Parsing, Recipe, parse_image, parse_images, running
from noisycorrect_seg.inference.frames import way_back
from noisycorrect_seg.inference.running import ahead, on_device

SHAPES = [(31, 20), (20, 31), (30, 30), (17, 8), (1, 9), (31, 1)]
CONVENTIONS = ["extractor", "evaluator"]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(128, 128), (131, 160)])
def test_a_network_that_reads_colours_gives_the_mask_back(shape, size, convention):
    """Zoom 4 and more: every tap of the way back lies nearest to its own pixel's colour."""
    mask = random_mask(shape)
    parsing = parse_image(ReadsColours(), coloured(mask), classes=EIGHT, size=size, convention=convention, probs=True)
    assert parsing.labels.dtype == np.uint8
    assert np.array_equal(parsing.labels, mask)
    assert parsing.probs.dtype == np.float32
    assert np.array_equal(parsing.probs.argmax(0), mask)
    assert np.abs(parsing.probs.sum(0) - 1).max() < 1e-6


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("count", [2, 5, 8])
def test_any_class_count_with_mirrors_and_scales(count, convention):
    """Without left and right, mirroring changes nothing: the colours are read off the mirror as well."""
    classes, mask = Classes("own", tuple("abcdefgh"[:count])), random_mask((24, 21), classes=count)
    model = ReadsColours(count, output=False)
    parsing = parse_image(
        model, coloured(mask), classes=classes, size=(127, 128), scales=(1.0, 1.5), flip=True, convention=convention
    )
    assert np.array_equal(parsing.labels, mask)
    assert model.seen == [(2, 3, 127, 128), (2, 3, 190, 192)]


class Columns(nn.Module):
    """Says, whatever it sees, that column x of its frame is of class x."""

    def forward(self, crops):
        frame = torch.eye(crops.shape[-1])[:, None, :].expand(-1, crops.shape[-2], -1)
        return frame.expand(len(crops), *frame.shape)


def test_half_a_pixel_by_hand():
    """Zoom 2: pixels 0..3 lie at columns 0, 2, 4, 6; the published evaluator looks at 1, 3, 5 and beyond the edge."""
    seven = Classes("seven", tuple("abcdefg"))
    image = np.zeros((4, 4, 3), np.uint8)
    right = parse_image(Columns(), image, classes=seven, size=(7, 7), convention="evaluator")
    assert right.labels.tolist() == [[0, 2, 4, 6]] * 4
    official = parse_image(
        Columns(), image, classes=seven, size=(7, 7), convention="evaluator", official_centres=True, probs=True
    )
    assert official.labels.tolist() == [[1, 3, 5, 0]] * 3 + [[0, 0, 0, 0]]  # background beyond the frame
    assert official.probs[:, 3, 0].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert np.array_equal(official.probs.argmax(0), official.labels)
    odd = np.zeros((3, 5, 3), np.uint8)
    both = [
        parse_image(Columns(), odd, classes=seven, size=(7, 7), convention="evaluator", official_centres=cut).labels
        for cut in (False, True)
    ]
    assert np.array_equal(*both)


class Stripes(nn.Module):
    """Logits of two classes at stride 4 that cross between the frame's pixels."""

    def forward(self, crops):
        wave = torch.sin(torch.arange(crops.shape[-1] // 4) * 1.3)
        return torch.stack([wave, -wave]).unsqueeze(1).expand(len(crops), 2, crops.shape[-2] // 4, -1)


def test_the_conventions_differ_where_they_should():
    """Extractor: outlines where the resampled logits cross. Evaluator: the frame's pixels, looked up."""
    image, two = np.zeros((300, 211, 3), np.uint8), Classes("two", ("a", "b"))
    extractor = parse_image(Stripes(), image, classes=two, size=(32, 32)).labels
    evaluator = parse_image(Stripes(), image, classes=two, size=(32, 32), convention="evaluator").labels
    wave = torch.sin(torch.arange(8) * 1.3).double().numpy()
    frame = np.interp(np.arange(32) * 7 / 31, np.arange(8), wave)
    back = way_back((300, 211), (32, 32))
    resampled = np.interp(back[0, 0] * np.arange(211) + back[0, 2], np.arange(32), frame)
    assert np.array_equal(extractor, np.broadcast_to(resampled < 0, (300, 211)))
    chosen = np.broadcast_to((frame < 0).astype(np.uint8), (32, 32))
    assert np.array_equal(evaluator, warp_mask(chosen, invert(back), (300, 211)))
    assert 0 < (extractor != evaluator).mean() < 0.2


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(8, 8, 1)
        )


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_batch_is_its_images_one_by_one(convention):
    model = network()
    images = [coloured(random_mask(shape, seed)) for seed, shape in enumerate([*SHAPES, (1, 1), (2, 90)])]
    recipe = Recipe(EIGHT, (48, 40), (1.0, 1.5), True, convention)
    together = parse_images(model, images, recipe, probs=True)
    for image, parsing in zip(images, together, strict=True):
        alone = parse_images(model, [image], recipe, probs=True)[0]
        assert parsing.labels.shape == image.shape[:2]
        np.testing.assert_allclose(parsing.probs, alone.probs, rtol=0, atol=1e-6)
        certain = np.sort(parsing.probs, 0)[-1] - np.sort(parsing.probs, 0)[-2] > 1e-5
        assert np.array_equal(parsing.labels[certain], alone.labels[certain])


def test_labels_are_the_largest_probabilities():
    for convention in CONVENTIONS:
        parsing = parse_image(
            network(), coloured(random_mask((33, 47))), classes=EIGHT, size=(64, 64), convention=convention, probs=True
        )
        assert np.array_equal(parsing.labels, parsing.probs.argmax(0))


def test_files_pil_images_and_arrays_are_one(tmp_path):
    mask = random_mask((19, 26))
    pixels = coloured(mask)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    picture.convert("RGBA").save(tmp_path / "b.png")
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(tmp_path / "c.png")
    forms = [pixels, picture, tmp_path / "a.png", str(tmp_path / "a.png"), tmp_path / "b.png", tmp_path / "c.png"]
    for form in forms:
        assert np.array_equal(parse_image(ReadsColours(), form, classes=EIGHT, size=(128, 128)).labels, mask)
    grey = random_mask((19, 26), classes=2)
    for form in (grey * np.uint8(255), Image.fromarray(grey * np.uint8(255))):
        labels = parse_image(ReadsColours(), form, classes=EIGHT, size=(128, 128)).labels
        assert np.array_equal(labels, grey * 7)


def test_photos_are_turned_upright(tmp_path):
    mask = random_mask((20, 27))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn it clockwise to view it
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(coloured(mask))))
    stored.save(tmp_path / "photo.png", exif=exif)
    with Image.open(tmp_path / "photo.png") as picture:
        for form in (tmp_path / "photo.png", picture):
            assert np.array_equal(parse_image(ReadsColours(), form, classes=EIGHT, size=(128, 128)).labels, mask)


def test_a_parsing_is_saved_and_laid_over_its_image(tmp_path):
    mask = random_mask((12, 15))
    parsing = Parsing(mask, None, EIGHT)
    parsing.save_png(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), mask)
    shown = np.asarray(parsing.overlay(coloured(mask), alpha=1))
    assert np.array_equal(shown[mask > 0], EIGHT.palette[mask[mask > 0]])
    assert "labels" not in repr(parsing)


def test_modes_gradients_arguments_and_generators_come_back():
    model = network().train()
    model[1].eval()
    image = coloured(random_mask((9, 8)))
    before, statistics, state = image.copy(), model[1].running_mean.clone(), torch.random.get_rng_state()
    parse_image(model, image, classes=EIGHT, size=(32, 32), flip=True)
    with pytest.raises(InvalidInputError, match="logits"):
        parse_image(model, image, classes="lip", size=(32, 32))
    assert [module.training for module in model] == [True, False, True, True, True]
    assert model.training
    assert torch.equal(model[1].running_mean, statistics)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert np.array_equal(image, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_half_precision_stays_close():
    image = coloured(random_mask((30, 25)))
    exact = parse_image(network(), image, classes=EIGHT, size=(64, 64), probs=True)
    half = parse_image(network(), image, classes=EIGHT, size=(64, 64), probs=True, precision="bfloat16")
    assert half.probs.dtype == np.float32
    assert 0 < np.abs(exact.probs - half.probs).max() < 0.02


class Moving(nn.Linear):
    """Notes where it is sent."""

    def __init__(self):
        super().__init__(1, 1)
        self.sent = []

    def to(self, device):
        self.sent.append(str(device))
        return self


def test_a_model_is_lent_to_a_device_and_comes_back(monkeypatch):
    monkeypatch.setattr(running, "resolve_device", lambda device: torch.device("meta"))
    model = Moving()
    with on_device(model, "auto") as place:
        assert place == torch.device("meta")
        assert model.sent == ["meta"]
    assert model.sent == ["meta", "cpu"]
    with pytest.raises(ZeroDivisionError), on_device(model, "meta"):
        raise ZeroDivisionError
    assert model.sent[2:] == ["meta", "cpu"]
    elsewhere = nn.Linear(1, 1, device="meta")  # an accelerator, as far as "auto" can tell: it stays
    monkeypatch.setattr(running, "resolve_device", lambda device: torch.device("cpu"))
    with on_device(elsewhere, "auto") as place:
        assert place == torch.device("meta")
    with on_device(nn.Identity(), "auto") as place:
        assert place == torch.device("cpu")


def test_work_is_done_ahead_in_order_and_errors_arrive():
    assert list(ahead(lambda number: number * 2, range(5))) == [0, 2, 4, 6, 8]
    assert list(ahead(abs, [])) == []
    results = ahead(lambda number: 1 // number, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_gpu_says_the_same(convention):
    image = coloured(random_mask((60, 45)))
    parsings = [
        parse_image(network(), image, classes=EIGHT, size=(64, 64), convention=convention, device=device, probs=True)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(parsings[0].probs, parsings[1].probs, rtol=0, atol=1e-3)


# ---------------------------------------------------------------- invalid input


def test_arguments_out_of_range():
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(InvalidInputError, match="did you mean 'evaluator'"):
        parse_image(nn.Identity(), image, convention="evaluate")
    with pytest.raises(InvalidInputError, match=r'official_centres with convention="evaluator"; got \'extractor\''):
        parse_image(nn.Identity(), image, official_centres=True)
    with pytest.raises(InvalidInputError, match=r"size=\(height, width\); got 473"):
        parse_image(nn.Identity(), image, size=473)
    with pytest.raises(InvalidInputError, match="width to be a whole number >= 2; got 1"):
        parse_image(nn.Identity(), image, size=(473, 1))
    with pytest.raises(InvalidInputError, match="a known class list; got 'lips'"):
        parse_image(nn.Identity(), image, classes="lips")
    with pytest.raises(InvalidInputError, match="a known precision; got 'half'"):
        parse_image(nn.Identity(), image, precision="half")
    with pytest.raises(InvalidInputError, match="a device"):
        parse_image(nn.Identity(), image, device="gpu")
    with pytest.raises(InvalidInputError, match="at least one scale"):
        parse_image(nn.Identity(), image, scales=())


def test_images_that_are_none(tmp_path):
    for wrong in (
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(3, np.uint8),
    ):
        with pytest.raises(InvalidInputError, match=r"an RGB image \(H, W, 3\) or a grey one"):
            parse_image(nn.Identity(), wrong)
    with pytest.raises(InvalidInputError, match="a path, a PIL image or a uint8 array; got Tensor"):
        parse_image(nn.Identity(), torch.zeros(4, 4, 3))
    with pytest.raises(InvalidInputError, match="nowhere.jpg"):
        parse_image(nn.Identity(), tmp_path / "nowhere.jpg")
    (tmp_path / "notes.jpg").write_text("no image")
    with pytest.raises(InvalidInputError, match="notes.jpg"):
        parse_image(nn.Identity(), tmp_path / "notes.jpg")


def test_a_sound_file_of_another_kind_is_not_called_damaged(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "deep.tif", np.full((6, 4, 5), 9000, np.uint16), photometric="minisblack", planarconfig="separate"
    )
    with pytest.raises(InvalidInputError, match="deep.tif: .*; to fix: it is a sound TIFF, of bits, .* RGB of 8 bits"):
        parse_image(nn.Identity(), tmp_path / "deep.tif")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(InvalidInputError, match="photo.heic: .*; to fix: it is damaged, or of a kind that is not read"):
        parse_image(nn.Identity(), tmp_path / "photo.heic")
    (tmp_path / "cut.tif").write_bytes((tmp_path / "deep.tif").read_bytes()[:20])
    with pytest.raises(InvalidInputError, match="cut.tif: .*; to fix: the file is damaged, or no image"):
        parse_image(nn.Identity(), tmp_path / "cut.tif")
