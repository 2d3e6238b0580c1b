"""MHP's two versions and CIHP's human ids, on small copies of their layouts."""

import numpy as np
import pytest
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets import CIHP, MHP, InstanceSource, PersonCrops, source_named

SHAPE = (8, 10)


def people():
    """Two people whose masks share a corner; the first is the larger one."""
    one, two = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    one[1:7, 0:5], two[4:8, 4:8] = 3, 17
    return one, two


def write(images, masks, names, *, colour):
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(images / f"{name}.jpg")
        for number, mask in enumerate(people(), 1):
            pixels = np.stack([mask, mask * 0, mask * 0], 2) if colour else mask
            Image.fromarray(pixels).save(masks / f"{name}_02_{number:02}.png")


@pytest.mark.parametrize("home", ["", "LV-MHP-v2"])
def test_version_2(tmp_path, home):
    root = tmp_path / home
    write(root / "val" / "images", root / "val" / "parsing_annos", ["96", "4"], colour=True)
    (root / "list").mkdir()
    (root / "list" / "val.txt").write_text("96\n")
    source = source_named("mhp", tmp_path, "val")
    assert isinstance(source, MHP)
    assert isinstance(source, InstanceSource)
    assert [source.name(index) for index in range(len(source))] == ["96"]
    assert len(source.classes) == 59
    assert {source.classes.names[5], source.classes.names[6]} == {"Left-arm", "Right-arm"}
    check(source)


def test_version_1(tmp_path):
    write(tmp_path / "images", tmp_path / "annotations", ["0001", "0002"], colour=False)
    (tmp_path / "train_list.txt").write_text("0001.jpg\n")
    (tmp_path / "test_list.txt").write_text("0002.jpg\n")
    for split, name in (("train", "0001"), ("val", "0002")):
        source = MHP(tmp_path, split)
        assert [source.name(0), len(source), len(source.classes)] == [name, 1, 19]
        check(source)


def check(source):
    one, two = people()
    mask, owners = source.mask(0), source.instances(0)
    assert np.array_equal(mask, np.where(two > 0, two, one))  # the smaller one lies above
    assert np.array_equal(owners, np.where(two > 0, 2, np.where(one > 0, 1, 0)))
    assert owners.dtype == np.int32
    assert len(PersonCrops(source, progress=False)) == 2 * len(source)


def test_what_is_missing_or_wrong(tmp_path):
    write(tmp_path / "train" / "images", tmp_path / "train" / "parsing_annos", ["1", "2"], colour=True)
    masks = tmp_path / "train" / "parsing_annos"
    Image.fromarray(np.full(SHAPE, 200, np.uint8)).save(masks / "2_02_01.png")
    with pytest.raises(InvalidInputError, match=r"mask values 0\.\.58 or 255; got 200 in .*2_02_01\.png"):
        MHP(tmp_path).mask(1)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(masks / "2_02_01.png")
    with pytest.raises(InvalidInputError, match=r"2_02_01\.png"):
        MHP(tmp_path).mask(1)
    for path in masks.glob("2_*"):
        path.unlink()
    with pytest.raises(InvalidInputError, match=r"none for '2' \(1 of 2 missing\)"):
        MHP(tmp_path)
    Image.fromarray(np.zeros(SHAPE, np.uint8)).save(masks / "1.png")
    with pytest.raises(InvalidInputError, match=r"PICTURE_PEOPLE_NUMBER\.png.*got 1\.png"):
        MHP(tmp_path)
    with pytest.raises(InvalidInputError, match="the folder val/images"):
        MHP(tmp_path, "val")


def test_values_of_16_bits_are_no_other_class(tmp_path):
    write(tmp_path / "train" / "images", tmp_path / "train" / "parsing_annos", ["1"], colour=False)
    masks = tmp_path / "train" / "parsing_annos"
    Image.fromarray(people()[1].astype(np.uint16)).save(masks / "1_02_02.png")
    check(MHP(tmp_path))
    Image.fromarray(np.full(SHAPE, 257, np.uint16)).save(masks / "1_02_01.png")
    with pytest.raises(InvalidInputError, match=r"mask values 0\.\.58 or 255; got 257 in .*1_02_01\.png"):
        MHP(tmp_path).mask(0)


def test_people_are_counted_where_files_are_missing(tmp_path):
    write(tmp_path / "train" / "images", tmp_path / "train" / "parsing_annos", ["1"], colour=False)
    masks = tmp_path / "train" / "parsing_annos"
    (masks / "1_02_02.png").rename(masks / "1_02_03.png")
    (masks / "1_02_01.png").rename(masks / "1_02_02.png")
    check(MHP(tmp_path))


def test_human_ids_of_cihp(tmp_path):
    home = tmp_path / "Validation"
    for kind in ("Images", "Category_ids", "Human_ids"):
        (home / kind).mkdir(parents=True)
    one, two = people()
    for name in ("0000001", "0000002"):
        Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(home / "Images" / f"{name}.jpg")
        Image.fromarray(np.where(two > 0, two, one)).save(home / "Category_ids" / f"{name}.png")
    ids = np.where(two > 0, 2, np.where(one > 0, 1, 0)).astype(np.uint8)
    Image.fromarray(ids).save(home / "Human_ids" / "0000001.png")
    source = CIHP(tmp_path, "val")
    assert np.array_equal(source.instances(0), ids)
    assert source.instances(0).dtype == np.int32
    with pytest.raises(InvalidInputError, match=r"Human_ids/0000002\.png"):
        source.instances(1)
    Image.fromarray(ids[:4]).save(home / "Human_ids" / "0000001.png")
    with pytest.raises(InvalidInputError, match=r"human ids of their image's 8 x 10 pixels.*got 4 x 10"):
        source.instances(0)


def test_people_without_a_mask_are_told(tmp_path):
    home = tmp_path / "train"
    write(home / "images", home / "parsing_annos", ["1", "2"], colour=False)
    (home / "parsing_annos" / "1_02_02.png").unlink()
    with pytest.warns(
        UserWarning, match=r"got 1 of 2 pictures .* such as '1' with 1 of 2; people without one are back"
    ):
        source = MHP(tmp_path)
    assert source.instances(0).max() == 1
    (home / "parsing_annos" / "1_03_02.png").write_bytes((home / "parsing_annos" / "2_02_02.png").read_bytes())
    with pytest.warns(UserWarning, match="such as '1' with 2 of 2 or 3"):  # of two releases
        MHP(tmp_path)
