"""One's own data: images and masks by stem, a classes file, splits."""

import json
import os
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import LIP, Classes, left_right_pairs, named_classes
from noisycorrect_seg.datasets import Folder, ParsingDataset, ParsingSource, read_classes
from noisycorrect_seg.datasets.class_file import write_classes

NAMES = ["background", "face", "left arm", "right arm"]


def picture(path, value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (4, 3), value).save(path)


def people(root, names=("a", "b", "c"), images="images", masks="masks", classes=True):
    for number, name in enumerate(names):
        picture(root / images / f"{name}.jpg", (number * 20,) * 3)
        picture(root / masks / f"{name}.png", number % 4, "L")
    if classes:
        (root / "classes.txt").write_text("\n".join(NAMES))
    return root


def names_in(source):
    return [source.name(index) for index in range(len(source))]


def test_a_folder_of_ones_own(tmp_path):
    folder = Folder(people(tmp_path))
    assert isinstance(folder, ParsingSource)
    assert names_in(folder) == ["a", "b", "c"]
    assert folder.classes == Classes(tmp_path.name, tuple(NAMES), ((2, 3),))
    assert (folder.mask(2) == 2).all()
    assert abs(folder.image(2).astype(int) - 40).max() <= 2
    mirrored = ParsingDataset(folder, (8, 8), augment=True, mirror_prob=1, scale_factor=0, rotation_prob=0)[2]
    assert set(np.unique(mirrored["given"]).tolist()) == {3, 255}


def test_images_of_any_suffix_and_in_subfolders(tmp_path):
    people(tmp_path, ["a"])
    for name in ("B.JPEG", "c.png", "day 1/a.bmp", "day 1/night/d.TIF", "e.webp"):
        picture(tmp_path / "images" / name)
        picture((tmp_path / "masks" / name).with_suffix(".png"), 1, "L")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    (tmp_path / "images" / "._a.jpg").write_text("macOS leaves these")
    folder = Folder(tmp_path)
    assert names_in(folder) == ["B", "a", "c", "day 1/a", "day 1/night/d", "e"]
    assert folder.left_out == {}


def test_folders_elsewhere_and_classes_of_any_kind(tmp_path):
    people(tmp_path, images="photos", masks="labels", classes=False)
    places = {"images": tmp_path / "photos", "masks": str(tmp_path / "labels")}
    assert Folder(**places, classes="lip").classes is LIP
    assert Folder(**places, classes=["nobody", "left leg", "right leg"]).classes.flip_pairs == ((1, 2),)
    (tmp_path / "own.txt").write_text("x\ny\nz")
    assert Folder(**places, classes=tmp_path / "own.txt").classes.names == ("x", "y", "z")
    assert Folder(**places, classes=str(tmp_path / "own.txt")).classes.names == ("x", "y", "z")
    (tmp_path / "classes.json").write_text('["p", "q", "r"]')
    assert Folder(**places).classes.names == ("p", "q", "r")  # beside the images


# Splits


def test_a_split_by_lists(tmp_path):
    people(tmp_path, "abcd")
    (tmp_path / "train.txt").write_text("c\nimages/a.jpg\n")
    assert names_in(Folder(tmp_path, split="train")) == ["c", "a"]
    assert names_in(Folder(tmp_path, split="val")) == ["b", "d"]
    (tmp_path / "val_id.txt").write_text("d\n")
    assert names_in(Folder(tmp_path, split="val")) == ["d"]
    assert names_in(Folder(tmp_path)) == ["a", "b", "c", "d"]


def test_names_in_both_lists_of_a_split(tmp_path):
    people(tmp_path)
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("c\nimages/b.jpg\n")
    assert names_in(Folder(tmp_path, split="train")) == ["a", "b"]
    with pytest.warns(UserWarning, match=r"got 1 of the 2 in .*val\.txt in .*train\.txt, too: scores"):
        assert names_in(Folder(tmp_path, split="val")) == ["c", "b"]


def test_the_rest_of_a_list_of_names_with_spaces(tmp_path):
    people(tmp_path, ["a", "a 1", "a 2", "b"])
    (tmp_path / "train.txt").write_text("a 1.jpg\nfolder/a 2\nb b.png\n")
    assert names_in(Folder(tmp_path, split="val")) == ["a"]


@pytest.mark.parametrize("layout", ["{kind}/{split}", "{split}/{kind}"])
def test_a_split_by_folders(tmp_path, layout):
    for split, names in (("train", ["a", "b"]), ("val", ["c"])):
        images, masks = (layout.format(kind=kind, split=split) for kind in ("images", "masks"))
        people(tmp_path, names, images, masks)
    assert names_in(Folder(tmp_path, split="train")) == ["a", "b"]
    assert names_in(Folder(tmp_path, split="val")) == ["c"]


def test_a_root_called_train_is_no_split(tmp_path):
    root = people(tmp_path / "train", [f"{number:02d}" for number in range(20)])
    assert names_in(Folder(root, split="val")) == ["09", "19"]
    assert len(Folder(root, split="train")) == 18


def test_a_split_folder_that_is_missing(tmp_path):
    people(tmp_path, images="images/train", masks="masks/train")
    with pytest.raises(InvalidInputError, match="folder of val images; got only .*train"):
        Folder(tmp_path, split="val")


# Images without masks


def test_images_without_masks(tmp_path):
    people(tmp_path)
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(InvalidInputError, match=r"mask for every image .*none for 'b' \(1 of 3 missing\)"):
        Folder(tmp_path)
    assert names_in(Folder(tmp_path, unlabeled="skip")) == ["a", "c"]
    kept = Folder(tmp_path, unlabeled="keep")
    assert names_in(kept) == ["a", "b", "c"]
    assert kept.mask(1) is None
    assert (kept.mask(2) == 2).all()
    assert (ParsingDataset(kept, (8, 8))[1]["given"] == 255).all()


@pytest.mark.parametrize(("file", "fix"), [("b.jpg", "PNG, for JPEG"), ("b.npy", 'PNG, or pass channels="stored"')])
@pytest.mark.parametrize("end", ["", "_mask"])
def test_masks_of_a_kind_that_is_none(tmp_path, end, file, fix):
    people(tmp_path, "a")
    picture(tmp_path / "images" / "x" / "b.jpg")
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / f"a{end}.png")
    (tmp_path / "masks" / "x").mkdir()
    (tmp_path / "masks" / "x" / file.replace(".", f"{end}.")).write_bytes(b"of a kind that is none")
    with pytest.raises(InvalidInputError, match=rf"there is b{end}\.\w+, of a kind that is no mask; to fix: .*{fix}"):
        Folder(tmp_path, mask_suffix=end)


def test_images_alone(tmp_path):
    picture(tmp_path / "a.jpg")
    alone = Folder(images=tmp_path, classes="lip", unlabeled="keep")
    assert (names_in(alone), alone.mask(0)) == (["a"], None)
    with pytest.raises(InvalidInputError, match="masks"):
        Folder(images=tmp_path, classes="lip")


# Stored values


def test_masks_of_0_and_255_must_be_explained(tmp_path):
    people(tmp_path, ["a", "b"])
    for name in "ab":
        values = np.zeros((3, 4), np.uint8)
        values[1] = 255
        Image.fromarray(values).save(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(InvalidInputError, match=r"got only 0 and 255 in 2 masks.*values=\{255: 1\}"):
        Folder(tmp_path)
    assert Folder(tmp_path, values={255: 1}).mask(0).tolist() == [[0] * 4, [1] * 4, [0] * 4]
    assert Folder(tmp_path, values={}).mask(0).tolist() == [[0] * 4, [255] * 4, [0] * 4]
    picture(tmp_path / "masks" / "b.png", 1, "L")
    assert Folder(tmp_path).mask(0).max() == 255


def test_soft_edges_between_the_values_of_classes(tmp_path):
    people(tmp_path, "a")
    Image.fromarray(np.array([[0, 255, 254, 255]] * 3, np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(InvalidInputError, match=r"0\.\.3 or 255; got 254 in .*a.png; to fix: threshold the mask"):
        Folder(tmp_path, values={255: 1}).mask(0)
    for values in ({}, {7: 1}):
        with pytest.raises(InvalidInputError, match=r"got 254 in .*; to fix: correct the mask or the list of classes"):
            Folder(tmp_path, values=values).mask(0)


def test_exports_of_0_and_1_and_of_0_and_255_in_one_folder(tmp_path):
    people(tmp_path, "abcde")
    for name, value in zip("abcde", (1, 1, 255, 1, 255), strict=True):
        Image.fromarray(np.array([[0, 0, 0, value]] * 3, np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    with pytest.warns(UserWarning, match=r"only 0 and 255 in 2 of 5 .*c.png and .*e.png, .*to fix: pass values=\{255"):
        Folder(tmp_path)
    assert Folder(tmp_path, values={255: 1}).mask(4).max() == 1
    Folder(tmp_path, values={})
    border = np.array([[0, 255, 1, 1]] * 3, np.uint8)
    Image.fromarray(border).save(tmp_path / "masks" / "a.png")
    Folder(tmp_path)  # 255 is ignored beside a class


# The classes file


def test_a_classes_file(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\ufeff# my classes\nnobody\r\n\nface\n# Flip: a <-> b,c<->d\n a \nb\nc\nd\n#flip: e <-> f\ne\nf\n")
    read = read_classes(path)
    assert read.names == ("nobody", "face", "a", "b", "c", "d", "e", "f")
    assert read.flip_pairs == ((2, 3), (4, 5), (6, 7))
    assert read.name == tmp_path.name


@pytest.mark.parametrize("mark", [" ", ":", "\t", ",", ": "])
def test_a_classes_file_with_numbers(tmp_path, mark):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(["# numbered", *(f"{number}{mark}{name}" for number, name in enumerate(NAMES))]))
    assert read_classes(path) == Classes(tmp_path.name, tuple(NAMES), ((2, 3),))
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    assert read_classes(path).names == tuple(NAMES)
    for names in (["0", "1"], ["1 a", "2 b"], ["0 a", "b"], ["0 a", "0 b"]):  # names, whatever they begin with
        path.write_text("\n".join(names))
        assert read_classes(path).names == tuple(names)


def test_pairs_that_are_not_said_are_those_of_left_and_right(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("\n".join(NAMES))
    assert read_classes(path).flip_pairs == ((2, 3),)
    path.write_text("\n".join([*NAMES, "# flip: none"]))
    assert read_classes(path).flip_pairs == ()
    assert left_right_pairs(LIP.names) == [(LIP.names[a], LIP.names[b]) for a, b in LIP.flip_pairs]
    with pytest.warns(UserWarning, match="class 'left' has no counterpart on the other side"):
        assert left_right_pairs(["LeftArm", "bright", "left", "rightarm"]) == [("LeftArm", "rightarm")]


def test_a_classes_file_in_json(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(NAMES))
    assert read_classes(path).flip_pairs == ((2, 3),)
    path.write_text(json.dumps({"names": NAMES, "flip_pairs": [["face", "background"]]}))
    assert read_classes(path) == Classes(tmp_path.name, tuple(NAMES), ((1, 0),))


@pytest.mark.parametrize(
    ("names", "pairs", "name"),
    [
        (("sea", "port", "starboard"), ((1, 2),), "classes.txt"),
        (("road", "left lane", "right lane"), (), "classes.txt"),
        (("road", "left lane", "right lane"), ((1, 2),), "classes.txt"),
        (("road", "left lane", "right lane"), ((0, 1),), "classes.txt"),
        (("sea", "port, old", "starboard"), (), "classes.txt"),
        (("sea", "port, old", "starboard"), ((1, 2),), "classes.json"),
        (("sea", "port<->", "starboard"), ((1, 2),), "classes.json"),
        (("sea", "# port", "starboard"), (), "classes.json"),
        (("sea", " port", "star\nboard"), ((1, 2),), "classes.json"),
        (("0 sea", "1 port", "2 starboard"), (), "classes.json"),
    ],
)
def test_a_classes_file_that_is_written_is_read_as_it_was(tmp_path, names, pairs, name):
    (tmp_path / "classes.txt").write_text("of\nan\nearlier\ncall\n")
    assert write_classes(tmp_path, Classes("own", names, pairs)) == tmp_path / name
    assert len(list(tmp_path.iterdir())) == 1
    assert read_classes(tmp_path / name) == Classes(tmp_path.name, names, pairs)


# Invalid input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.txt", "one", r"2\.\.65535 classes"),
        ("classes.txt", "a\nb\na", "'a' twice"),
        ("classes.txt", "a\nb\n# flip: a <-> c", "flip pairs of classes in .*got 'c'"),
        ("classes.txt", "a\nb\n# flip: a, b", "a flip line as '# flip: left arm <-> right arm', not 'a'"),
        ("classes.json", "{", r"classes file; got .*classes\.json"),
        ("classes.json", '{"classes": []}', r"classes file; got .*classes\.json: 'names'"),
        ("classes.json", "3", r"classes file; got .*classes\.json"),
    ],
)
def test_classes_files_that_are_none(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        read_classes(tmp_path / name)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(InvalidInputError, match="root= or images=; got neither"):
        Folder(classes="lip")
    with pytest.raises(InvalidInputError, match="a folder of images; got no folder .*nowhere/images"):
        Folder(tmp_path / "nowhere")
    people(tmp_path, classes=False)
    with pytest.raises(InvalidInputError, match=r"classes=, or the file classes\.txt or classes\.json; got neither"):
        Folder(tmp_path)
    with pytest.raises(InvalidInputError, match="a known way with unlabelled images; got 'drop'"):
        Folder(tmp_path, classes="lip", unlabeled="drop")
    with pytest.raises(InvalidInputError, match=r"got \{70000: 1\}"):
        Folder(tmp_path, classes="lip", values={70000: 1})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="images .*empty; got none"):
        Folder(images=tmp_path / "empty", masks=tmp_path / "masks", classes="lip")


def test_pairs_of_classes_that_do_not_exist():
    with pytest.raises(InvalidInputError, match="flip pairs of classes in the classes; got 'c'"):
        named_classes("own", ["a", "b"], [("a", "c")])


# What is left out, and names


def test_what_is_left_out_is_counted_and_shown(tmp_path):
    people(tmp_path)
    picture(tmp_path / "masks" / "d.png", 1, "L")
    (tmp_path / "images" / "d.heic").write_bytes(b"of a telephone")
    (tmp_path / "images" / ".e.jpg").write_bytes(b"hidden")
    (tmp_path / "masks" / "notes.txt").write_text("no data")
    with pytest.warns(
        UserWarning, match=r"3 images are used; left out: 1 masks without an image, 1 \.heic files among"
    ):
        folder = Folder(tmp_path)
    assert folder.left_out == {
        "masks without an image": 1,
        ".heic files among the images": 1,
        "hidden files among the images": 1,
    }
    assert repr(folder).startswith("Folder(3 images of 4 classes; left out: 1 masks without an image; ")


def test_skipped_images_are_counted_without_a_warning(tmp_path):
    people(tmp_path)
    (tmp_path / "masks" / "b.png").unlink()
    assert Folder(tmp_path, unlabeled="skip").left_out == {"images without a mask": 1}


@pytest.mark.parametrize(("image", "mask"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_in_two_unicode_forms_are_one(tmp_path, image, mask):
    composed = "Zo\u00e9"
    picture(tmp_path / "images" / f"{unicodedata.normalize(image, composed)}.jpg")
    picture(tmp_path / "masks" / f"{unicodedata.normalize(mask, composed)}.png", 1, "L")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    (tmp_path / "train.txt").write_text(unicodedata.normalize(mask, composed))
    for split in (None, "train"):
        folder = Folder(tmp_path, split=split)
        assert (names_in(folder), folder.mask(0).max()) == ([composed], 1)


@pytest.mark.parametrize(
    ("image", "mask"), [("IMG_1.JPG", "img_1.png"), ("a.jpg", "a_mask.png"), ("a.jpg", "a.jpg.png")]
)
def test_the_nearest_name_is_said(tmp_path, image, mask):
    people(tmp_path)
    picture(tmp_path / "images" / "x" / image)
    picture(tmp_path / "masks" / "x" / mask, 1, "L")
    with pytest.raises(InvalidInputError, match=f"the nearest mask is 'x/{re.escape(mask[:-4])}'"):
        Folder(tmp_path)


# Masks whose palette contradicts them


@pytest.mark.parametrize("colours", [[0, 5, 13], [13, 0, 5]])
def test_a_palette_of_the_greys_in_use_holds_no_indices(tmp_path, colours):
    people(tmp_path, ["a"])
    image = Image.fromarray(np.zeros((3, 4), np.uint8))
    image.putpalette([part for value in colours for part in (value,) * 3])
    image.putdata([0, 1, 2] * 4)
    image.save(tmp_path / "masks" / "a.png")
    with pytest.raises(InvalidInputError, match="palette mask whose colours agree with its indices; got index"):
        Folder(tmp_path)
    assert set(np.unique(Folder(tmp_path, values={}).mask(0)).tolist()) == {0, 1, 2}


def test_palettes_that_each_file_numbers_for_itself(tmp_path):
    people(tmp_path, ["a", "b"])
    for name, colour in (("a", (200, 10, 10)), ("b", (10, 200, 10))):
        image = Image.fromarray(np.eye(3, 4, dtype=np.uint8))
        image.putpalette([0, 0, 0, *colour])
        image.save(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(InvalidInputError, match=r"number their colours alike; got index 1 .*a\.png, and .*b\.png"):
        Folder(tmp_path)
    assert Folder(tmp_path, values={}).mask(1).max() == 1


def test_a_mask_that_lost_something_under_a_lossless_name(tmp_path):
    people(tmp_path, ["a"])
    Image.new("L", (4, 3), 1).save(tmp_path / "masks" / "a.png", format="WEBP")
    with pytest.raises(InvalidInputError, match="lossless format; got the WEBP"):
        Folder(tmp_path)


# Links


def test_links_that_lead_out_are_followed_only_if_asked_for(tmp_path):
    root, other = people(tmp_path / "own", ["a"]), tmp_path / "other"
    picture(other / "b.jpg")
    picture(other / "b.png", 1, "L")
    (root / "images" / "b.jpg").symlink_to(other / "b.jpg")
    (root / "masks" / "b.png").symlink_to(other / "b.png")
    with pytest.raises(InvalidInputError, match=r"links within .*; got .*b\.jpg, which leads to .*other"):
        Folder(root)
    assert names_in(Folder(root, links=True)) == ["a", "b"]
    (root / "images" / "b.jpg").unlink()
    (root / "images" / "b.jpg").symlink_to(root / "images" / "a.jpg")
    (root / "masks" / "b.png").unlink()
    (root / "masks" / "b.png").symlink_to("a.png")
    (root / "images" / "again").symlink_to(root / "images", target_is_directory=True)
    assert names_in(Folder(root)) == ["a", "b"]
    whole = tmp_path / "linked"
    whole.symlink_to(root, target_is_directory=True)
    assert len(Folder(whole)) == 2


def test_a_pipe_is_no_image(tmp_path):
    people(tmp_path, ["a"])
    (tmp_path / "images" / "a.jpg").unlink()
    os.mkfifo(tmp_path / "images" / "a.jpg")
    folder = Folder(tmp_path)
    with pytest.raises(InvalidInputError, match="an image file; got a pipe"):
        folder.image(0)
