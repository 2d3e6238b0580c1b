"""Large scenes by tiles: no pixel is left out, no seam is seen; sources that are put together."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from squares import Squares
from torch import nn

from noisycorrect import SelfCorrector
from noisycorrect.cli import main
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import (
    Classes,
    Normalisation,
    ParsingDataset,
    SegmentationMetrics,
    Tiles,
    evaluate_source,
    parse_folder,
    parse_image,
    parse_scene,
)
from noisycorrect_seg.datasets import Joined, PersonCrops, Pictures, Remapped, SyntheticPeople, SyntheticScenes
from noisycorrect_seg.geometry.tiles import checked_tiling, starts_along, tile_weights, tiles_of
from noisycorrect_seg.inputs import RGB, normalisation_named

LAND = Classes("land", ("land", "water"))


class Scene:
    """Scenes of uneven sizes; a lake each."""

    classes = LAND
    shapes = ((90, 150), (40, 140), (30, 20))

    def __len__(self):
        return len(self.shapes)

    def mask(self, index):
        height, width = self.shapes[index]
        rows, columns = np.mgrid[:height, :width]
        return (np.hypot(rows - height / 2, columns - width / 2) < height / 3).astype(np.uint8)

    def image(self, index):
        return np.repeat(60 + 120 * self.mask(index)[:, :, None], 3, 2)

    def name(self, index):
        return f"scene {index}"


@pytest.mark.parametrize("overlap", [0, 1, 2, 5, 16, 32])
@pytest.mark.parametrize("shape", [(64, 64), (65, 64), (200, 130), (30, 500), (64, 95)])
def test_tiles_cover_a_scene_and_their_weights_are_nowhere_zero(shape, overlap):
    tiles = tiles_of(shape, (64, 64), overlap)
    total = np.zeros(shape)
    for tile in tiles:
        assert tile.shape == (min(64, shape[0]), min(64, shape[1]))
        total[tile.rows, tile.columns] += tile_weights(tile, shape, overlap)
    assert total.min() > 0.2
    for side in shape:
        starts = starts_along(side, 64, overlap)
        assert all(after - before <= 64 - overlap for before, after in itertools.pairwise(starts))
        assert side <= 64 or starts[-1] == side - 64


def test_weights_of_two_neighbours_add_up_to_one():
    tiles = tiles_of((8, 28), (8, 16), 4)
    total = np.zeros((8, 28))
    for tile in tiles:
        total[tile.rows, tile.columns] += tile_weights(tile, (8, 28), 4)
    np.testing.assert_allclose(total, 1)
    assert tile_weights(tiles[0], (8, 28), 4)[0, -1] == 0


@pytest.mark.parametrize("flip", [False, True])
def test_a_network_that_sees_no_further_than_the_margin_sees_no_tiles(flip):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))  # 3 pixels around
    image = np.random.default_rng(0).integers(0, 255, (70, 101, 3)).astype(np.uint8)
    options = {"classes": ["a", "b", "c"], "probs": True, "flip": flip, "device": "cpu"}
    whole = parse_scene(model, image, tile=image.shape[:2], overlap=0, **options)
    tiled = parse_scene(model, image, tile=(32, 40), overlap=12, batch_size=3, **options)
    np.testing.assert_allclose(tiled.probs, whole.probs, atol=1e-6)
    sure = np.sort(whole.probs, 0)[-1] - np.sort(whole.probs, 0)[-2] > 1e-5
    assert (tiled.labels == whole.labels)[sure].all()
    assert sure.mean() > 0.99
    near = parse_scene(model, image, tile=(32, 40), overlap=0, **options)  # what the overlap is for
    assert abs(near.probs - whole.probs).max() > 1e-3
    np.testing.assert_allclose(tiled.probs.sum(0), 1, atol=1e-5)


def test_a_scene_narrower_than_a_tile_is_parsed_as_one_frame():
    torch.manual_seed(0)
    model = nn.Conv2d(3, 2, 3, padding=1)
    image = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    tiled = parse_scene(model, image, classes=LAND, tile=(48, 48), overlap=8, probs=True)
    whole = parse_image(model, image, classes=LAND, size=(48, 48), probs=True)
    np.testing.assert_allclose(tiled.probs, whole.probs, atol=1e-6)
    wide = parse_scene(model, np.tile(image, (1, 4, 1)), classes=LAND, tile=(48, 48), overlap=8)
    assert wide.labels.shape == (20, 120)


@pytest.mark.parametrize("options", [{"tile": (1, 9)}, {"overlap": 40}, {"overlap": -1}, {"batch_size": 0}])
def test_tilings_that_are_none(options):
    with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
        parse_scene(nn.Conv2d(3, 2, 1), np.zeros((9, 9, 3), np.uint8), **{"classes": LAND, "tile": (64, 64), **options})
    with pytest.raises(InvalidInputError):
        checked_tiling((64, 64), 33)


# Training


def test_tiles_are_samples_that_are_put_together_again():
    source = Scene()
    tiles = Tiles(source, (48, 48), overlap=12)
    assert len(tiles) == len(tiles_of((90, 150), (48, 48), 12)) + len(tiles_of((40, 140), (48, 48), 12)) + 1
    seen = [np.zeros(shape, bool) for shape in source.shapes]
    for index in range(len(tiles)):
        scene, tile = tiles.place(index)
        seen[scene][tile.rows, tile.columns] = True
        assert (tiles.mask(index) == source.mask(scene)[tile.rows, tile.columns]).all()
        assert tiles.image(index).shape == (*tiles.mask(index).shape, 3)
    assert all(each.all() for each in seen)
    assert len({tiles.name(index) for index in range(len(tiles))}) == len(tiles)
    for number, (name, mask) in enumerate(tiles.scenes(tiles.mask)):
        assert name == f"scene {number}"
        assert (mask == source.mask(number)).all()
    # Where two tiles say other things, the one counts in which a pixel lies further inside.
    (_, mask), *_ = tiles.scenes(lambda index: np.full_like(tiles.mask(index), index % 2))
    assert mask[0, 0] == 0
    assert len(np.unique(np.flatnonzero(np.diff(mask[0].astype(int))))) == 3  # of four tiles in a row
    with pytest.raises(InvalidInputError, match="a mask of"):
        next(tiles.scenes(lambda index: np.zeros((3, 3), np.uint8)))
    with pytest.raises(IndexError):
        tiles.image(len(tiles))


def test_tiles_know_whose_each_pixel_is():
    scenes = SyntheticScenes(3, people=(2, 2), size=(64, 96))
    tiles = Tiles(scenes, (64, 64), overlap=16)
    for index in range(len(tiles)):
        scene, tile = tiles.place(index)
        assert (tiles.instances(index) == scenes.instances(scene)[tile.rows, tile.columns]).all()
        assert tiles.instances(index).shape == tiles.mask(index).shape
    tiles.instances(0)[...] = 9  # the caller's own
    assert (tiles.instances(0) == scenes.instances(0)[:, :64]).all()
    assert PersonCrops(tiles, progress=False).places
    with pytest.raises(InvalidInputError, match="whose each pixel is"):
        Tiles(Scene(), (48, 48)).instances(0)


def test_tiles_that_are_read_in_order_decode_each_scene_once(monkeypatch):
    scenes, read = SyntheticScenes(3, people=(2, 2), size=(64, 96)), []
    tiles = Tiles(scenes, (64, 64), overlap=16)
    for name in ("image", "mask", "instances"):
        real = getattr(scenes, name)
        monkeypatch.setattr(scenes, name, lambda index, n=name, f=real: read.append((n, index)) or f(index))
    for index in range(len(tiles)):
        _ = tiles.image(index), tiles.mask(index), tiles.instances(index)
    assert sorted(read) == [(name, scene) for name in ("image", "instances", "mask") for scene in range(3)]


def test_tiles_of_any_size_have_an_overlap_that_fits():
    assert [Tiles(Scene(), size).overlap for size in ((512, 512), (48, 64), (8, 8))] == [64, 6, 1]


def test_a_data_set_of_tiles_shows_them_at_their_own_size():
    data = ParsingDataset(Tiles(Scene(), (48, 48), overlap=12), (48, 48))
    assert (data[0]["given"].numpy() == data.source.mask(0)).all()
    assert (data.canonical().given[0] == data.source.mask(0)).all()


# Sources put together


def test_sources_are_joined_in_order_and_by_the_names_of_classes():
    squares = Squares()
    both = Joined([squares, squares])
    assert len(both) == 12
    assert (both.mask(7) == squares.mask(1)).all()
    assert (both.image(11) == squares.image(5)).all()
    assert (both.name(6), both.image_file(6)) == ("squares-0", None)
    with pytest.raises(IndexError):
        both.mask(12)
    others = SyntheticPeople(1, size=(32, 32))
    with pytest.raises(InvalidInputError, match="Remapped"):
        Joined([squares, others])
    with pytest.raises(InvalidInputError, match="at least one source"):
        Joined([])
    with pytest.raises(InvalidInputError, match="'Background' .20 without"):
        Remapped(others, squares.classes)
    names = {name: "left" if name == "Upper-clothes" else None for name in others.classes.names[1:]}
    names["Background"] = "background"
    mapped = Remapped(others, squares.classes, rename=names)
    assert len(Joined([squares, mapped])) == 7
    mask, found = others.mask(0), mapped.mask(0)
    top = others.classes.names.index("Upper-clothes")
    assert (found == np.select([mask == 0, mask == top], [0, 1], 255)).all()
    for odd in (np.array([[77]], np.uint8), np.array([[-1, 700]])):
        wrong = Pictures([np.zeros((*odd.shape, 3), np.uint8)], others.classes, [odd])
        wrong.mask = lambda index, odd=odd: odd  # as a source of one's own may say it
        with pytest.raises(InvalidInputError, match=r"mask values 0\.\.19 or 255; got"):
            Remapped(wrong, squares.classes, rename=names).mask(0)


# How values become inputs


def test_normalisations():
    assert normalisation_named("rgb") is RGB
    image = np.random.default_rng(0).integers(0, 255, (5, 4, 3)).astype(np.uint8)
    found = RGB(torch.from_numpy(image))
    expected = (torch.from_numpy(image).double() / 255 - torch.tensor(RGB.mean).double()) / torch.tensor(RGB.std)
    torch.testing.assert_close(found.movedim(0, -1).double(), expected, atol=1e-6, rtol=0)
    assert torch.equal(RGB.of_image(image), found)
    assert abs(RGB.back(found) - image).max() < 1e-3
    four = Normalisation([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 2.0], reverse=True)
    values = np.arange(8.0).reshape(1, 2, 4)
    given = torch.from_numpy(values)
    assert four(given)[:, 0, 0].tolist() == [2.0, 0.0, -2.0, -2.0]
    assert (given.numpy() == np.arange(8.0).reshape(1, 2, 4)).all()
    np.testing.assert_allclose(four.back(four(given)), values)


@pytest.mark.parametrize(
    ("mean", "std", "options"),
    [([], [], {}), ([1.0], [0.0], {}), ([1.0], [1.0, 2.0], {}), ([np.nan], [1.0], {}), ([1.0], [1.0], {"scale": 0}),
     ("a", "b", {}), (3, 3, {})],
)  # fmt: skip
def test_normalisations_that_are_none(mean, std, options):
    with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
        Normalisation(mean, std, **options)


def test_images_that_do_not_fit_a_normalisation():
    two = Normalisation([0.0, 0.0], [1.0, 1.0])
    with pytest.raises(InvalidInputError, match="NaN or infinity in a.tif"):
        two.check(np.full((2, 2, 2), np.nan), "a.tif")
    with pytest.raises(InvalidInputError, match="an image of 2 channels"):
        two.check(np.zeros((2, 2, 3)), "a.tif")
    with pytest.raises(InvalidInputError, match=r"values of 0\.\.255"):
        RGB.check(np.zeros((2, 2, 3), np.uint16), "a.tif")


# Figures


@pytest.mark.parametrize("boundary_width", [None, 2])
def test_figures_by_tiles_are_those_of_scenes_parsed_by_tiles(boundary_width):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))  # 3 pixels around

    class Noisy(Scene):
        def image(self, index):
            noise = np.random.default_rng(index).integers(0, 60, (*self.shapes[index], 3))
            return (super().image(index) + noise).astype(np.uint8)

        def mask(self, index):
            mask = super().mask(index)
            mask[:2] = 255
            return mask

    source = Noisy()
    with torch.no_grad():
        model[-1].bias += torch.tensor([0.02, 0.0])
    metrics, at_once = (SegmentationMetrics(2, boundary_width=boundary_width) for _ in range(2))
    for index in range(len(source)):
        image = source.image(index)
        parsed = parse_scene(model, image, classes=LAND, tile=(32, 40), overlap=12, device="cpu")
        whole = parse_scene(model, image, classes=LAND, tile=image.shape[:2], overlap=0, device="cpu")
        metrics.update(parsed.labels, source.mask(index))
        at_once.update(whole.labels, source.mask(index))
    options = {"boundary_width": boundary_width, "device": "cpu", "progress": False}
    found = evaluate_source(model, source, tile=(32, 40), overlap=12, batch_size=3, **options)
    expected = {"images": 3, **metrics.compute()}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(torch.as_tensor(found[name]), torch.as_tensor(value), rtol=0, atol=0)
    # No seams: it is the figure of whole scenes, but for pixels that are undecided to the last bit.
    assert found["pixel_accuracy"] == pytest.approx(at_once.compute()["pixel_accuracy"], abs=1e-3)
    apart = evaluate_source(model, Tiles(source, (32, 40), overlap=0), size=(32, 40), **options)
    assert abs(apart["pixel_accuracy"] - found["pixel_accuracy"]) > 1e-4  # what tiles by themselves say
    assert 0.1 < found["mean_iou"] < 0.95


def test_scenes_without_a_mask_and_options_that_mean_nothing_by_tiles():
    class Bare(Scene):
        def mask(self, index):
            return None if index else super().mask(index)

    model = nn.Conv2d(3, 2, 1)
    assert evaluate_source(model, Bare(), tile=(32, 32), progress=False)["images"] == 1
    for more, message in (
        ({"size": (32, 32)}, "size= or tile=; got both"),
        ({"official_centres": True}, "tile= or off"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            evaluate_source(model, Bare(), tile=(32, 32), **more)
    with pytest.raises(InvalidInputError, match="an overlap of at most 16"):
        evaluate_source(model, Bare(), tile=(32, 32), overlap=20)


def test_a_folder_is_parsed_by_tiles_and_from_the_command_line(tmp_path, capsys):
    (tmp_path / "scenes").mkdir()
    for index in range(3):
        Image.fromarray(Scene().image(index)).save(tmp_path / "scenes" / f"{index}.png")
    (tmp_path / "scenes" / "3.png").write_bytes(b"none")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
    data = ParsingDataset(Tiles(Scene(), (49, 65)), (49, 65))
    corrector = SelfCorrector(network, task="segmentation", num_classes=2, recipe="ce", epochs=1, batch_size=8)
    result = corrector.fit(data)
    result.save(tmp_path / "saved")
    network = result.model
    expected = [parse_scene(network, Scene().image(index), device="cpu", probs=True).probs for index in range(3)]
    options = {"tile": (49, 65), "batch_size": 3, "device": "cpu", "progress": False, "probs": True}
    with pytest.warns(UserWarning, match="1 images could not be read"):
        report = parse_folder(network, tmp_path / "scenes", tmp_path / "out", overlays=True, **options)
    assert len(report.written) == 3
    words = ["parse", str(tmp_path / "scenes"), "--checkpoint", str(tmp_path / "saved"), "--device", "cpu", "--probs"]
    assert main([*words, "--out", str(tmp_path / "command"), "--tile"]) == 1
    captured = capsys.readouterr()
    assert "3 images parsed, 1 images could not be read" in captured.out
    assert "trained on tiles" not in captured.err
    assert main([*words, "--out", str(tmp_path / "default")]) == 1
    said = "saved: trained on tiles of 49x65, by which photos are parsed; whole ones with --size 49x65"
    assert said in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "whole"), "--size", "49x65"]) == 1
    assert "trained on tiles" not in capsys.readouterr().err
    for index in range(3):
        found = [
            np.load(tmp_path / name / f"{index}-probs.npz")["probs"] for name in ("out", "command", "default", "whole")
        ]
        for own in found[:3]:
            np.testing.assert_allclose(own.astype(np.float32), expected[index], atol=1e-3)  # float16
        apart = np.abs(found[3].astype(np.float32) - expected[index]).max()
        assert (apart > 0.02) == (index < 2)  # the third is smaller than a tile
    assert main([*words, "--out", str(tmp_path / "other"), "--tile", "33x33", "--size", "49x65"]) == 2
    assert "--size or --tile; got both" in capsys.readouterr().err
    (tmp_path / "film.mp4").touch()
    assert main(["parse", str(tmp_path / "film.mp4"), *words[2:], "--tile"]) == 2
    assert "photos with --tile" in capsys.readouterr().err


def test_tiles_that_were_scaled_in_training_are_not_parsed_by_at_full_resolution(tmp_path, capsys):
    """Of scenes put together with others the first ones' tiles are known, too."""
    data = ParsingDataset(Joined([Tiles(Scene(), (49, 65)), Scene()]), (32, 32))
    assert data.input_record["tile"] == [49, 65]
    assert "tile" not in ParsingDataset(Scene(), (32, 32)).input_record
    network = nn.Conv2d(3, 2, 3, padding=1)
    corrector = SelfCorrector(network, task="segmentation", num_classes=2, recipe="ce", epochs=1, batch_size=8)
    corrector.fit(data).save(tmp_path / "saved")
    Image.fromarray(Scene().image(0)).save(tmp_path / "0.png")
    words = ["parse", str(tmp_path / "0.png"), "--checkpoint", str(tmp_path / "saved"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "trained on tiles of 49x65 scaled to 32x32, photos are parsed whole" in capsys.readouterr().err


def test_tiles_are_as_large_as_the_network_says():
    network = nn.Conv2d(3, 2, 3, padding=1)
    network.classes, network.size = LAND, (24, 32)
    seen = []
    network.register_forward_pre_hook(lambda _, crops: seen.append(tuple(crops[0].shape[2:])))
    parse_scene(network, Scene().image(0))
    assert set(seen) == {(24, 32)}
    seen.clear()
    network.size = None
    parse_scene(network, Scene().image(0))
    assert set(seen) == {(512, 512)}
