"""Folders as other tools write them: suffixes, colours, 16 bits, other sizes, any channels, public layouts."""

import sys

import numpy as np
import pytest
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import Classes, Folder, Normalisation, ParsingDataset
from noisycorrect_seg.classes import voc_palette
from noisycorrect_seg.datasets import ColourTable, read_colour_file

NAMES = ["background", "road", "car"]
MASK = np.array([[0, 1, 1, 2], [0, 1, 2, 2], [255, 0, 0, 1], [0, 0, 1, 1]], np.uint8)
COLOURS = {(0, 0, 0): "background", (128, 64, 128): "road", (0, 0, 142): "car", (255, 255, 255): 255}


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


def photo(height=4, width=4, value=100):
    return np.full((height, width, 3), value, np.uint8)


def coloured(mask=MASK):
    table = dict(enumerate(list(COLOURS)[:3])) | {255: (255, 255, 255)}
    return np.array([[table[int(value)] for value in row] for row in mask], np.uint8)


def names_in(source):
    return [source.name(index) for index in range(len(source))]


# Suffixes


@pytest.mark.parametrize("suffix", ["_mask", "*_mask.png"])
def test_masks_with_a_suffix_beside_their_images(tmp_path, suffix):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", photo())
        save(tmp_path / f"{name}_mask.png", MASK)
    folder = Folder(tmp_path, classes=NAMES, mask_suffix=suffix)
    assert names_in(folder) == ["a", "b"]
    assert (folder.mask(1) == MASK).all()
    assert folder.left_out == {}
    with pytest.raises(InvalidInputError, match="mask_suffix="):
        Folder(images=tmp_path, masks=tmp_path, classes=NAMES)


def test_suffixes_of_both_in_folders_of_their_own(tmp_path):
    save(tmp_path / "images" / "x" / "a_img.png", photo())
    save(tmp_path / "masks" / "x" / "a_seg.png", MASK)
    save(tmp_path / "masks" / "x" / "a_instances.png", MASK)
    folder = Folder(tmp_path, classes=NAMES, image_suffix="_img", mask_suffix="_seg")
    assert names_in(folder) == ["x/a"]
    assert folder.left_out == {}
    with pytest.raises(InvalidInputError, match="the nearest mask is 'x/a_seg'"):
        Folder(tmp_path, classes=NAMES, image_suffix="_img")
    with pytest.raises(InvalidInputError, match="mask_suffix"):
        Folder(tmp_path, classes=NAMES, mask_suffix="masks/*")


# Colours


@pytest.mark.parametrize("form", ["names", "numbers", "list", "csv", "camvid", "cvat"])
def test_masks_of_colours(tmp_path, form):
    save(tmp_path / "images" / "a.png", photo())
    mask = np.where(MASK == 255, 0, MASK).astype(np.uint8)
    save(tmp_path / "masks" / "a.png", coloured(mask))
    rows = [(name, *colour) for colour, name in list(COLOURS.items())[:3]]
    lines = {
        "csv": ["name,r,g,b", *(",".join(map(str, row)) for row in rows)],
        "camvid": [f"{r} {g} {b}\t{name}" for name, r, g, b in rows],
        "cvat": ["# label:color_rgb:parts:actions", *(f"{name}:{r},{g},{b}::" for name, r, g, b in rows)],
    }
    given = {
        "names": COLOURS,
        "numbers": {colour: number for number, colour in enumerate(list(COLOURS)[:3])},
        "list": [list(colour) for colour in list(COLOURS)[:3]],
    }
    classes = NAMES
    if form in lines:
        given[form] = tmp_path / "colours.csv"
        given[form].write_text("\n".join(lines[form]))
        assert read_colour_file(given[form])[0] == NAMES
        classes = None  # they are the file's
    folder = Folder(tmp_path, classes=classes, colours=given[form])
    assert folder.classes.names == tuple(NAMES)
    assert (folder.mask(0) == mask).all()
    if form == "names":  # and they are the classes, where nothing else says what these are
        assert Folder(tmp_path, colours=dict(list(COLOURS.items())[:3])).classes.names == tuple(NAMES)
        (tmp_path / "classes.txt").write_text("\n".join(reversed(NAMES)))
        assert Folder(tmp_path, colours=dict(list(COLOURS.items())[:3])).classes.names == tuple(reversed(NAMES))
    elif form == "numbers":
        with pytest.raises(InvalidInputError, match=r"the file classes.txt"):
            Folder(tmp_path, colours=given[form])


@pytest.mark.parametrize(
    "lines",
    [
        ["id,r,g,b,name", "0,0,0,0,sky", "1,128,64,128,road", "2,1,2,3,lane 1"],
        ["r,g,b,id,name", "0,0,0,1,sky", "128,64,128,2,road", "1,2,3,3,lane 1"],
        ["name,r,g,b,id", "sky,0,0,0,0", "road,128,64,128,1", "lane 1,1,2,3,2"],
        ["name;id;r;g;b", "sky;1;0;0;0", "road;2;128;64;128", "lane 1;3;1;2;3"],
        ["id,name,r,g,b", "0,sky,0,0,0", "1,road,128,64,128", "2,lane 1,1,2,3"],
        ["r,g,b,name,id", "0,0,0,sky,0", "128,64,128,road,1", "1,2,3,lane 1,2"],
        ["0 0 0 0\tsky", "1 128 64 128\troad", "2 1 2 3\t\tlane 1"],
        ["0: sky,0,0,0", "1: road,128,64,128", "2: lane 1,1,2,3"],
        ["sky,0,0,0", "road: 128 64 128", "1 2 3 lane 1"],
    ],
)
def test_a_column_that_counts_is_no_colour_and_no_name(tmp_path, lines):
    (tmp_path / "c.txt").write_text("\n".join(lines))
    expected = ["sky", "road", "lane 1"], [(0, 0, 0), (128, 64, 128), (1, 2, 3)]
    assert read_colour_file(tmp_path / "c.txt") == expected


def test_numbers_apart_by_spaces(tmp_path):
    for lines, names in (
        (["0 0 0 0 sky", "1 128 64 128 road"], ["sky", "road"]),
        (["sky 1 0 0 0", "road 2 128 64 128"], ["sky", "road"]),
        (["0 sky 0 0 0", "1 road 128 64 128"], ["sky", "road"]),
        (["0 0 0 sky", "128 64 128 lane 2"], ["sky", "lane 2"]),
        (["0 0 0 lane 1", "128 64 128 lane 2"], ["lane 1", "lane 2"]),
        (["2 wheels 0 0 0", "4 wheels 128 64 128"], ["2 wheels", "4 wheels"]),
    ):
        (tmp_path / "c.txt").write_text("\n".join(lines))
        assert read_colour_file(tmp_path / "c.txt") == (names, [(0, 0, 0), (128, 64, 128)])


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        (["7,0,0,0,sky", "8,128,64,128,road"], "7,0,0,0,sky"),
        (["sky,0,0,0,255", "road,128,64,128,255"], "sky,0,0,0,255"),
        (["sky 0 0 0 255", "road 128 64 128 255"], "sky 0 0 0 255"),
        (["sky,0,0,0", "1,road,128,64,128"], "1,road,128,64,128"),
        (["0,sky,0,0,0,255", "1,road,128,64,128,255"], "0,sky,0,0,0,255"),
        (["0,0,0,0", "1,128,64,128"], "0,0,0,0"),
        (["0,0,0,sky,7", "128,64,128,road,8"], "0,0,0,sky,7"),
        (["lane 1 0 0 0", "lane 2 128 64 128"], "lane 1 0 0 0"),
    ],
)
def test_a_number_too_many_is_refused(tmp_path, lines, wrong):
    (tmp_path / "c.csv").write_text("\n".join(lines))
    with pytest.raises(InvalidInputError, match=f"a name and three numbers .*; got '{wrong}' in .*; to fix"):
        read_colour_file(tmp_path / "c.csv")


def test_a_colour_that_is_ignored_and_palettes_by_what_they_show(tmp_path):
    save(tmp_path / "images" / "a.png", photo())
    picture = Image.fromarray(coloured()).quantize(8)  # a palette in an order of its own
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks" / "a.png")
    assert (Folder(tmp_path, classes=NAMES, colours=COLOURS).mask(0) == MASK).all()
    table = ColourTable.of("voc", Classes("three", tuple(NAMES)))
    assert (table.indices(voc_palette()[MASK % 3], "a.png") == MASK % 3).all()


def test_wrong_colours_say_which_and_how_many_and_what_is_near(tmp_path):
    save(tmp_path / "images" / "a.png", photo())
    wrong = coloured()
    wrong[0, 0] = 127, 64, 128
    path = save(tmp_path / "masks" / "a.png", wrong)
    folder = Folder(tmp_path, classes=NAMES, colours=COLOURS)
    with pytest.raises(InvalidInputError, match=r"\(127, 64, 128\) and 0 others on 6.25% .* nearest is .* road"):
        folder.mask(0)
    with pytest.raises(InvalidInputError, match="colours= of Folder"):  # and without a table it says so
        Folder(tmp_path, classes=NAMES, values={}).mask(0)
    Image.fromarray(wrong).save(path.with_suffix(".jpg"))
    path.with_suffix(".jpg").rename(path)
    with pytest.raises(InvalidInputError, match="lossless"):
        folder.mask(0)


@pytest.mark.parametrize(
    "colours",
    [{(1, 2): 0}, {(0, 0, 300): 0}, {(0, 0, 0): "tree"}, {(0, 0, 0): 7}, [(0, 0, 0)], "rainbow", 3, [(0, 0, 0)] * 3],
)
def test_tables_of_colours_that_are_none(tmp_path, colours):
    save(tmp_path / "images" / "a.png", photo())
    save(tmp_path / "masks" / "a.png", coloured())
    with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
        Folder(tmp_path, classes=NAMES, colours=colours)
    with pytest.raises(InvalidInputError, match="both"):
        Folder(tmp_path, classes=NAMES, colours=colours, values={1: 2})


def test_files_of_colours_that_are_none(tmp_path):
    for number, text in enumerate(("", "road 1 2", "road,1,2,3\ncar,1,2,999", "road,1,2,3")):
        (tmp_path / f"{number}.txt").write_text(text)
        with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
            read_colour_file(tmp_path / f"{number}.txt")


# 16 bits


def test_masks_of_16_bits(tmp_path):
    save(tmp_path / "images" / "a.png", photo())
    save(tmp_path / "masks" / "a.png", (MASK.astype(np.uint16) % 255) * 100 + 55)
    many = Folder(tmp_path, classes=[f"c{number}" for number in range(300)])
    assert many.mask(0).dtype == np.uint16
    assert many.mask(0).max() == 255  # a class here
    few = Folder(tmp_path, classes=NAMES, values={55: 0, 155: 1, 255: 2})
    assert few.mask(0).dtype == np.uint8
    assert (few.mask(0) == MASK % 255).all()
    with pytest.raises(InvalidInputError, match=r"0\.\.2 or 255; got 155"):
        Folder(tmp_path, classes=NAMES, values={55: 0, 255: 1}).mask(0)
    item = ParsingDataset(many, (4, 4))[0]["given"]
    assert (item.numpy() == many.mask(0)).all()


# Sizes


def test_masks_of_half_the_size(tmp_path):
    save(tmp_path / "images" / "a.png", photo(9, 8))
    save(tmp_path / "masks" / "a.png", MASK)
    with pytest.raises(InvalidInputError, match=r'mask of its image.* got 4 x 4 .*mask_size="scaled"'):
        Folder(tmp_path, classes=NAMES).mask(0)
    scaled = Folder(tmp_path, classes=NAMES, mask_size="scaled").mask(0)
    assert scaled.shape == (9, 8)
    rows = [0, 0, 1, 1, 2, 2, 2, 3, 3]  # the centre of row 4 is the middle of four rows: the third begins there
    assert (scaled == MASK[rows].repeat(2, 1)).all()
    save(tmp_path / "images" / "a.png", photo(12, 8))
    with pytest.raises(InvalidInputError, match="export the mask at its size$"):
        Folder(tmp_path, classes=NAMES, mask_size="scaled").mask(0)


# Channels


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_images_of_16_bits(tmp_path, suffix):
    values = (np.arange(16, dtype=np.uint16) * 4000).reshape(4, 4)
    save(tmp_path / "images" / f"a{suffix}", values)
    save(tmp_path / "masks" / "a.png", MASK)
    folder = Folder(tmp_path, classes=NAMES, channels="stored")
    assert folder.image(0).dtype == np.uint16
    assert (folder.image(0)[:, :, 0] == values).all()
    data = ParsingDataset(folder, (4, 4), normalisation=Normalisation([30000.0], [10000.0]))
    np.testing.assert_allclose(data[0]["image"][0], (values.astype(np.float32) - 30000) / 10000, rtol=1e-6)
    with pytest.raises(InvalidInputError, match="an image of 3 channels.*Normalisation.of"):
        ParsingDataset(folder, (4, 4))[0]
    if suffix != ".npy":
        with pytest.raises(InvalidInputError, match='channels="stored"'):
            Folder(tmp_path, classes=NAMES).image(0)


def test_grey_images(tmp_path):
    save(tmp_path / "images" / "a.png", np.arange(16, dtype=np.uint8).reshape(4, 4))
    save(tmp_path / "images" / "b.png", photo(value=7))
    save(tmp_path / "masks" / "a.png", MASK)
    save(tmp_path / "masks" / "b.png", MASK)
    folder = Folder(tmp_path, classes=NAMES, channels="grey")
    assert folder.image(0).shape == (4, 4, 1)
    assert (folder.image(1) == 7).all()


@pytest.mark.parametrize("form", ["planes", "last", "npy"])
def test_multispectral_images(tmp_path, form):
    pixels = np.random.default_rng(0).integers(0, 65535, (4, 4, 6)).astype(np.uint16)
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / ("a.npy" if form == "npy" else "a.tif")
    if form == "npy":
        np.save(path, pixels)
    elif form == "planes":
        pytest.importorskip("tifffile").imwrite(path, pixels.transpose(2, 0, 1), photometric="minisblack")
    else:
        pytest.importorskip("tifffile").imwrite(path, pixels, planarconfig="contig", photometric="minisblack")
    save(tmp_path / "masks" / "a.png", MASK)
    folder = Folder(tmp_path, classes=NAMES, channels="stored")
    assert (folder.image(0) == pixels).all()
    assert (folder.mask(0) == MASK).all()
    assert Normalisation.of(folder).mean == pytest.approx(pixels.reshape(-1, 6).mean(0).tolist())


def test_what_a_file_of_channels_may_not_be(tmp_path, monkeypatch):
    save(tmp_path / "masks" / "a.png", MASK)
    image = tmp_path / "images" / "a.npy"
    image.parent.mkdir()
    for content in (np.zeros(4), np.zeros((0, 4)), np.zeros((4, 4, 2000), np.uint8), np.array([["a"]]), None):
        np.save(image, np.array([object()]) if content is None else content, allow_pickle=True)
        with pytest.raises(InvalidInputError, match=r"a\.npy"):
            Folder(tmp_path, classes=NAMES, channels="stored").image(0)
    np.save(image, np.zeros((4, 4, 2), np.float32))
    image.write_bytes(image.read_bytes()[:-8])
    with pytest.raises(InvalidInputError, match=r"a\.npy"):
        Folder(tmp_path, classes=NAMES, channels="stored").image(0)
    image.unlink()
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(image.with_suffix(".tif"), np.zeros((4, 4, 6), np.uint16), photometric="minisblack")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "tifffile", None)
        with pytest.raises(InvalidInputError, match="pip install tifffile"):
            Folder(tmp_path, classes=NAMES, channels="stored").image(0)
    folder = Folder(tmp_path, classes=NAMES, channels="stored")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    with pytest.raises(InvalidInputError, match=r"at most 10 pixels; got .*a\.tif"):
        folder.image(0)


@pytest.mark.parametrize(
    "options", [{"channels": "cmyk"}, {"mask_size": "half"}, {"layout": "coco"}, {"image_suffix": 3}]
)
def test_options_that_are_none(tmp_path, options):
    save(tmp_path / "images" / "a.png", photo())
    save(tmp_path / "masks" / "a.png", MASK)
    with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
        Folder(tmp_path, classes=NAMES, **options)


# Public layouts


def test_cityscapes(tmp_path):
    stored = np.array([[7, 8, 0, 33], [26, 4, 11, 7], [7, 7, 7, 7], [23, 24, 25, 1]], np.uint8)
    for split, city in (("train", "aachen"), ("val", "ulm")):
        save(tmp_path / "leftImg8bit" / split / city / f"{city}_0_leftImg8bit.png", photo())
        for kind in ("labelIds", "instanceIds", "color"):
            save(tmp_path / "gtFine" / split / city / f"{city}_0_gtFine_{kind}.png", stored)
    folder = Folder(tmp_path, layout="cityscapes", split="train")
    assert names_in(folder) == ["aachen/aachen_0"]
    assert len(folder.classes) == 19
    assert folder.mask(0).tolist() == [[0, 1, 255, 18], [13, 255, 2, 0], [0] * 4, [10, 11, 12, 255]]
    assert names_in(Folder(tmp_path, layout="cityscapes")) == ["train/aachen/aachen_0", "val/ulm/ulm_0"]


def test_ade20k(tmp_path):
    home = tmp_path / "ADEChallengeData2016"
    for split in ("training", "validation"):
        save(home / "images" / split / f"ADE_{split}_1.png", photo())
        save(home / "annotations" / split / f"ADE_{split}_1.png", np.array([[0, 1, 2, 150]] * 4, np.uint8))
    with pytest.raises(InvalidInputError, match="150 names"):
        Folder(tmp_path, layout="ade20k", split="val")
    rows = [f"{number}\t0.1\t1\t1\t0\t{'screen' if number > 148 else f'thing {number}'}" for number in range(1, 151)]
    (home / "objectInfo150.txt").write_text("\n".join(["Idx\tRatio\tTrain\tVal\tStuff\tName", *rows]))
    folder = Folder(tmp_path, layout="ade20k", split="val")
    assert names_in(folder) == ["ADE_validation_1"]
    assert folder.mask(0)[0].tolist() == [255, 0, 1, 149]
    assert folder.classes.names[-2:] == ("screen", "screen 2")


def test_pascal_voc(tmp_path):
    home = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("a", "b", "c"):
        save(home / "JPEGImages" / f"{name}.jpg", photo())
    for name in ("a", "b"):
        picture = Image.fromarray(MASK)
        picture.putpalette(voc_palette().tobytes())
        (home / "SegmentationClass").mkdir(exist_ok=True)
        picture.save(home / "SegmentationClass" / f"{name}.png")
    lists = home / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b\n")
    folder = Folder(tmp_path, layout="voc", split="train")
    assert (names_in(folder), len(folder.classes), folder.classes.names[15]) == (["b"], 21, "person")
    assert (folder.mask(0) == MASK).all()
    assert names_in(Folder(tmp_path, layout="voc")) == ["a", "b"]
    with pytest.raises(InvalidInputError, match="ImageSets/Segmentation/val.txt"):
        Folder(tmp_path, layout="voc", split="val")
    with pytest.raises(InvalidInputError, match="JPEGImages"):
        Folder(tmp_path / "ImageSets", layout="voc")
    own = save(tmp_path / "own" / "a.png", MASK).parent
    for options, said in (({"masks": own}, f"masks={own}"), ({"mask_suffix": "_own"}, "mask_suffix=_own")):
        with pytest.raises(InvalidInputError, match=f"layout='voc' alone, .*; got {said} beside it; to fix: .* masks="):
            Folder(tmp_path, layout="voc", **options)
