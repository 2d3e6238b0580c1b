"""The readers of the public data sets, on small copies of their layouts."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import classes
from noisycorrect_seg.datasets import ATR, CCP, CIHP, LIP, ParsingDataset, ParsingSource, PascalPersonPart, source_named
from noisycorrect_seg.datasets.ccp import GROUPING, TAGS, TWINS, group_table
from noisycorrect_seg.datasets.layout import held_out

SHAPE = (6, 5)


def mask_of(number, top):
    """A mask that tells which sample it is of."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, 0], mask[-1, -1] = number % top, 255
    return mask


def write(images, masks, names, top=6, suffix=".jpg"):
    """Images that are as grey as their number, and masks."""
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((*SHAPE, 3), 10 * number, np.uint8)).save(images / f"{name}{suffix}")
        mask = Image.fromarray(mask_of(number, top))
        mask.putpalette([(7 * index) % 256 for index in range(768)])
        mask.save(masks / f"{name}.png")


def names_in(source):
    return [source.name(index) for index in range(len(source))]


def check(source, numbers, top=6):
    """Every sample has its own image and mask."""
    assert isinstance(source, ParsingSource)
    for index, number in enumerate(numbers):
        assert abs(source.image(index).astype(int) - 10 * number).max() <= 2
        assert (source.mask(index) == mask_of(number, top)).all()


# LIP


@pytest.mark.parametrize(
    ("images", "masks", "ids"),
    [
        ("train_images", "train_segmentations", "train_id.txt"),
        (
            "TrainVal_images/train_images",
            "TrainVal_parsing_annotations/train_segmentations",
            "TrainVal_images/train_id.txt",
        ),
        (
            "TrainVal_images/TrainVal_images/train_images",
            "TrainVal_parsing_annotations/TrainVal_parsing_annotations/train_segmentations",
            "train_id.txt",
        ),
    ],
)
def test_lip(tmp_path, images, masks, ids):
    write(tmp_path / images, tmp_path / masks, ["77_471474", "100034_483681", "9_1"])
    (tmp_path / ids).write_text("9_1\n100034_483681.jpg\r\n\n")
    lip = LIP(tmp_path)
    assert names_in(lip) == ["9_1", "100034_483681"]
    assert lip.classes is classes.LIP
    check(lip, [2, 1])
    item = ParsingDataset(pickle.loads(pickle.dumps(lip)), (12, 12))[1]
    assert item["given"][0, 1] == 1
    with pytest.raises(InvalidInputError, match=r"the folder val_images or TrainVal_images/val_images .*none of them"):
        LIP(tmp_path, "val")


def test_lip_without_an_id_file_is_the_whole_folder(tmp_path):
    write(tmp_path / "val_images", tmp_path / "val_segmentations", ["b", "a", "._c"])
    assert names_in(LIP(str(tmp_path), "val")) == ["a", "b"]


def test_an_id_file_that_names_a_missing_image_or_mask(tmp_path):
    write(tmp_path / "train_images", tmp_path / "train_segmentations", ["a", "b"])
    (tmp_path / "train_id.txt").write_text("a\nc\nd\n")
    with pytest.raises(InvalidInputError, match=r"every name in .*train_id\.txt; got none for 'c' \(2 of 3 missing\)"):
        LIP(tmp_path)
    (tmp_path / "train_id.txt").write_text("a\nb\n")
    (tmp_path / "train_segmentations" / "b.png").unlink()
    with pytest.raises(InvalidInputError, match=r"mask for every image in .*; got none for 'b' \(1 of 2 missing\)"):
        LIP(tmp_path)
    (tmp_path / "train_id.txt").write_text(" \n")
    with pytest.raises(InvalidInputError, match=r"one name a line; got .*train_id\.txt without any"):
        LIP(tmp_path)
    (tmp_path / "train_id.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInputError, match=r"one name a line; got .*train_id\.txt"):
        LIP(tmp_path)


def test_folders_that_are_missing_or_do_not_belong_together(tmp_path):
    with pytest.raises(InvalidInputError, match="nowhere does not exist"):
        LIP(tmp_path / "nowhere")
    (tmp_path / "train_images").mkdir()
    with pytest.raises(InvalidInputError, match="folder train_segmentations or"):
        LIP(tmp_path)
    (tmp_path / "train_segmentations").mkdir()
    with pytest.raises(InvalidInputError, match=r"images \(\.jpg, .*train_images; got none"):
        LIP(tmp_path)
    Image.new("RGB", (5, 6)).save(tmp_path / "train_images" / "a.jpg")
    with pytest.raises(InvalidInputError, match="masks .*got no masks in"):
        LIP(tmp_path)
    Image.new("L", (5, 6)).save(tmp_path / "train_segmentations" / "b.png")
    with pytest.raises(InvalidInputError, match="named as their images; got 'a' and 'b'"):
        LIP(tmp_path)
    Image.new("RGB", (5, 6)).save(tmp_path / "train_images" / "a.png")
    with pytest.raises(InvalidInputError, match="one file a stem; got"):
        LIP(tmp_path)


# Pascal-Person-Part


@pytest.mark.parametrize(
    ("images", "masks", "ids"),
    [
        ("JPEGImages", "pascal_person_part_gt", "pascal_person_part_trainval_list/val.txt"),
        ("JPEGImages", "SegmentationPart", "val_id.txt"),
        (
            "VOCdevkit/VOC2010/JPEGImages",
            "pascal_person_part/pascal_person_part_gt",
            "pascal_person_part/pascal_person_part_trainval_list/val.txt",
        ),
    ],
)
def test_pascal_person_part(tmp_path, images, masks, ids):
    write(tmp_path / images, tmp_path / masks, ["2008_000003", "2008_000008", "2008_000026"])
    (tmp_path / masks / "2008_000003.png").unlink()  # VOC has images without a person
    (tmp_path / ids).parent.mkdir(exist_ok=True)
    (tmp_path / ids).write_text("/JPEGImages/2008_000026.jpg /pascal_person_part_gt/2008_000026.png\n2008_000008\n")
    pascal = PascalPersonPart(tmp_path, "val")
    assert names_in(pascal) == ["2008_000026", "2008_000008"]
    assert pascal.classes is classes.PASCAL
    check(pascal, [2, 1])
    with pytest.raises(InvalidInputError, match=r"list of train images, .*/train\.txt or train_id\.txt"):
        PascalPersonPart(tmp_path, "train")


def test_pascal_person_part_in_lips_layout(tmp_path):
    write(tmp_path / "val_images", tmp_path / "val_segmentations", ["a", "b"])
    assert names_in(PascalPersonPart(tmp_path, "val")) == ["a", "b"]


# ATR


@pytest.mark.parametrize("place", ["", "humanparsing"])
def test_atr_splits_by_position_unless_told(tmp_path, place):
    root = tmp_path / place
    names = [f"dataset10k_{number:02d}" for number in range(26)]
    write(root / "JPEGImages", root / "SegmentationClassAug", names)
    train, val = ATR(tmp_path), ATR(tmp_path, "val")
    assert names_in(val) == [names[24]]
    assert names_in(train) == names[:24] + names[25:]
    assert train.classes is classes.ATR
    check(val, [24])
    (root / "val_id.txt").write_text("\n".join(names[3:5]))
    assert names_in(ATR(tmp_path, "val")) == names[3:5]
    assert names_in(ATR(tmp_path, "train")) == names[:3] + names[5:]
    (root / "train.txt").write_text(names[0])
    assert names_in(ATR(tmp_path, "train")) == names[:1]


def test_atr_in_lips_layout(tmp_path):
    write(tmp_path / "train_images", tmp_path / "train_segmentations", ["a", "b"])
    assert names_in(ATR(tmp_path)) == ["a", "b"]


# CIHP


@pytest.mark.parametrize(
    ("place", "masks"),
    [
        ("Training", "Category_ids"),
        ("instance-level_human_parsing/Training", "Category_ids"),
        ("instance-level_human_parsing/instance-level_human_parsing/train", "Categories"),
    ],
)
def test_cihp(tmp_path, place, masks):
    write(tmp_path / place / "Images", tmp_path / place / masks, ["0000006", "0000008", "0000010"])
    assert names_in(CIHP(tmp_path)) == ["0000006", "0000008", "0000010"]
    (tmp_path / place / "train_id.txt").write_text("0000010\n0000006")
    cihp = CIHP(tmp_path)
    assert names_in(cihp) == ["0000010", "0000006"]
    assert (cihp.classes.name, cihp.classes.flip_pairs) == ("cihp", classes.LIP.flip_pairs)
    assert (cihp.classes.names[10], classes.LIP.names[10]) == ("Torso-skin", "Jumpsuits")
    assert cihp.classes.names[:10] + cihp.classes.names[11:] == classes.LIP.names[:10] + classes.LIP.names[11:]
    check(cihp, [2, 0])
    with pytest.raises(InvalidInputError, match="folder Validation or val or"):
        CIHP(tmp_path, "val")


def test_cihp_whose_categories_are_colours(tmp_path):
    write(tmp_path / "Training/Images", tmp_path / "Training/Categories", ["a"])
    Image.fromarray(np.arange(90, dtype=np.uint8).reshape(6, 5, 3)).save(tmp_path / "Training/Categories/a.png")
    with pytest.raises(InvalidInputError, match=r"class numbers .*colours in .*a\.png"):
        CIHP(tmp_path).mask(0)


# CCP


def write_ccp(root, names, *, labels=True):
    photos, masks = root / "photos", root / "annotations" / "pixel-level"
    photos.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((*SHAPE, 3), 10 * number % 256, np.uint8)).save(photos / f"{name}.jpg")
        tags = np.asfortranarray(np.arange(30, dtype=np.uint8).reshape(SHAPE) + number % 30)
        scipy.io.savemat(masks / f"{name}.mat", {"groundtruth": tags}, do_compression=True)
    if labels:
        cells = np.empty((1, len(TAGS)), object)
        cells[0] = [np.array([tag]) for tag in TAGS]
        scipy.io.savemat(root / "label_list.mat", {"label_list": cells})


def class_of_tag(number):
    return next(index for index, members in enumerate(GROUPING.values()) if TAGS[number] in members)


@pytest.mark.parametrize("labels", [True, False])
def test_ccp_groups_its_tags(tmp_path, labels):
    write_ccp(tmp_path, ["0001", "0002", "0005"], labels=labels)
    Image.new("RGB", (5, 6)).save(tmp_path / "photos" / "2000.jpg")  # has no mask, as most
    ccp = CCP(tmp_path)
    assert names_in(ccp) == ["0001", "0002", "0005"]
    assert ccp.classes is classes.CCP
    for index in range(3):
        mask = ccp.mask(index)
        assert mask.dtype == np.uint8
        assert mask.flags.c_contiguous
        assert mask.ravel().tolist() == [class_of_tag(number + index) for number in range(30)]
        assert abs(ccp.image(index).astype(int) - 10 * index).max() <= 2


def test_the_grouping_is_that_of_the_shared_file():
    assert tuple(GROUPING) == classes.CCP.names
    assert len(TAGS) == 59
    table = group_table(TAGS, GROUPING)
    assert (table[:59] < 17).all()
    assert (table[59:] == 255).all()
    shared = {
        "null": 0,
        "sunglasses": 4,
        "tights": 5,
        "suit": 6,
        "romper": 7,
        "leggings": 9,
        "wedges": 12,
        "gloves": 16,
    }
    assert {tag: int(table[TAGS.index(tag)]) for tag in shared} == shared


def test_ccp_splits_by_position_and_keeps_photos_published_twice_in_train(tmp_path):
    names = sorted([f"{number:04d}" for number in range(1, 15)] + ["0078", "0984"])
    assert {"0078", "0984"} < set(TWINS)
    write_ccp(tmp_path, names)
    assert names_in(CCP(tmp_path, "val")) == ["0007", "0014"]
    assert names_in(CCP(tmp_path, "train")) == [name for name in names if name not in ("0007", "0014")]
    (tmp_path / "train_id.txt").write_text("0003\n0001\n")
    assert names_in(CCP(tmp_path, "train")) == ["0003", "0001"]
    assert names_in(CCP(tmp_path, "val")) == [name for name in names if name not in ("0001", "0003")]
    (tmp_path / "val_id.txt").write_text("0002\n")
    assert names_in(CCP(tmp_path, "val")) == ["0002"]
    assert names_in(CCP(tmp_path)) == names


def test_ccp_with_a_grouping_of_ones_own(tmp_path):
    write_ccp(tmp_path, ["0001"])
    ccp = CCP(tmp_path, grouping={"nobody": ["null"], "somebody": [tag for tag in TAGS if tag != "null"]})
    assert ccp.classes.names == ("nobody", "somebody")
    assert ccp.mask(0).ravel().tolist() == [0] + [1] * 29


@pytest.mark.parametrize(
    ("grouping", "got"),
    [
        ({"a": TAGS[:-1], "b": []}, "'wedges' in 0 classes"),
        ({"a": TAGS, "b": ["belt"]}, "'belt' in 2 classes"),
        ({"a": TAGS, "b": ["sock"]}, "'sock' in 1 classes, which is no tag"),
    ],
)
def test_a_grouping_that_is_none(tmp_path, grouping, got):
    write_ccp(tmp_path, ["0001"])
    with pytest.raises(InvalidInputError, match=f"every tag of the data set in one class; got {got}"):
        CCP(tmp_path, grouping=grouping)


def test_ccp_files_that_are_damaged(tmp_path):
    write_ccp(tmp_path, ["0001", "0002", "0003", "0004"])
    masks = tmp_path / "annotations" / "pixel-level"
    whole = (masks / "0001.mat").read_bytes()
    (masks / "0001.mat").write_bytes(whole[: len(whole) - 40])
    scipy.io.savemat(masks / "0002.mat", {"other": np.zeros(SHAPE)})
    scipy.io.savemat(masks / "0003.mat", {"groundtruth": np.full(SHAPE, 59, np.uint8)})
    scipy.io.savemat(masks / "0004.mat", {"groundtruth": np.zeros((5, 6), np.uint8)})
    ccp = CCP(tmp_path)
    with pytest.raises(InvalidInputError, match=r"variable 'groundtruth'; got .*0001\.mat"):
        ccp.mask(0)
    with pytest.raises(InvalidInputError, match=r"got .*0002\.mat: KeyError"):
        ccp.mask(1)
    with pytest.raises(InvalidInputError, match=r"tag numbers 0\.\.58, \(H, W\), in .*0003\.mat; got .*up to 59"):
        ccp.mask(2)
    with pytest.raises(InvalidInputError, match=r"6 x 5 pixels .*got 5 x 6 in .*0004\.mat"):
        ccp.mask(3)
    for size in (0, 100, 160):
        (masks / "0001.mat").write_bytes(whole[:size])
        with pytest.raises(InvalidInputError, match=r"0001\.mat"):
            ccp.mask(0)


def test_ccp_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInputError, match="folder annotations/pixel-level"):
        CCP(tmp_path)
    write_ccp(tmp_path, ["0001"])
    (tmp_path / "photos" / "0001.jpg").rename(tmp_path / "photos" / "1.jpg")
    with pytest.raises(InvalidInputError, match="1 photos and 1 masks without a common name"):
        CCP(tmp_path)


# By name


def test_sources_by_name(tmp_path):
    write(tmp_path / "val_images", tmp_path / "val_segmentations", ["a", "b"])
    assert type(source_named("lip", tmp_path, "val")) is LIP
    assert type(source_named("atr", tmp_path, "val")) is ATR
    assert type(source_named("pascal", tmp_path, "val")) is PascalPersonPart
    write(tmp_path / "images", tmp_path / "masks", ["a", "b"])
    folder = source_named("folder", tmp_path, "train", classes="lip")
    assert names_in(folder) == ["a", "b"]
    with pytest.raises(InvalidInputError, match="did you mean 'lip'"):
        source_named("lib", tmp_path)
    for name in ("lip", "pascal", "atr", "cihp", "ccp", "folder"):
        with pytest.raises(InvalidInputError, match="a known split; got 'test'"):
            source_named(name, tmp_path, "test")


def test_holding_out_is_a_partition_whatever_the_order():
    names = [f"{number:03d}" for number in range(53)]
    for every, never in ((7, ()), (10, names[:5]), (1, names[3:4]), (100, ())):
        train = held_out(reversed(names), "train", every=every, never=never)
        val = held_out(names, "val", every=every, never=never)
        assert sorted(train + val) == names
        assert not set(val) & set(never)
        assert len(val) == (len(names) - len(never)) // every


SHARED = Path(__file__).parents[3] / "shared" / "data" / "ccp"


@pytest.mark.skipif(not (SHARED / "label_list.mat").is_file(), reason="CCP is not at hand")
def test_the_real_ccp():
    train, val = CCP(SHARED, "train"), CCP(SHARED, "val")
    assert (len(train), len(val), len(CCP(SHARED))) == (604, 100, 704)
    assert names_in(val)[:3] == ["0013", "0021", "0025"]
    assert not set(names_in(train)) & set(names_in(val))
    mask, image = val.mask(0), val.image(0)
    assert mask.shape == image.shape[:2]
    assert mask.max() < 17
