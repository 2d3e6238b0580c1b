"""Masks of a run as PNG, COCO, CVAT and Label Studio, read back."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from cleaning_runs import save_picture
from PIL import Image
from test_formats_rle import decoded_counts, decoded_label_studio

from noisycorrect import InvalidInputError, SoftLabelStore
from noisycorrect.cli import main
from noisycorrect.export import FORMATS, ExportOptions, read_run_labels
from noisycorrect.review.session import Decision, Journal
from noisycorrect.saved.details import Details
from noisycorrect_seg.classes import palette_of_names
from noisycorrect_seg.colours import voc_palette
from noisycorrect_seg.datasets import Folder, ParsingDataset, read_classes
from noisycorrect_seg.formats.cvat import cvat_mask
from noisycorrect_seg.sessions import write_mask_items
from noisycorrect_seg.task import HumanParsing

NAMES = ("background", "hat & <scarf>", 'lower "arm"', "face")
STEMS = ("set/a", "b", "c.v2", "d")


@pytest.fixture
def run_dir(tmp_path):
    """Masks of four sizes, one of them unknown, another ignored; corrected by evidence."""
    rng = np.random.default_rng(0)
    masks = [rng.integers(4, size=(9, 7)), rng.integers(4, size=(5, 12)), None, np.full((3, 4), 255)]
    masks[1][0, :3] = 255
    folder = tmp_path / "run"
    store = SoftLabelStore.create(folder / "labels", masks, 4, kind="segmentation")
    probs = torch.rand(4, 4, 6, 6, generator=torch.Generator().manual_seed(0)).mul(6).softmax(1)
    with store.new_generation(trust=torch.full((4,), 0.2)) as writer:
        writer.write(range(4), probs)
    Details("segmentation", 4, NAMES, STEMS, tuple(f"{stem}.jpeg" for stem in STEMS)).write(folder)
    return folder


def export(run_dir, out, *words):
    assert main(["export", str(run_dir), str(out), *words]) == 0
    return SoftLabelStore.open(run_dir / "labels").labels()


def test_palette_pngs_under_their_own_stems(run_dir, tmp_path, capsys):
    masks = export(run_dir, tmp_path / "out")
    assert "4 labels of generation 1 written to" in capsys.readouterr().out
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    assert files == {*(f"{stem}.png" for stem in STEMS), "classes.txt"}
    for stem, mask in zip(STEMS, masks, strict=True):
        with Image.open(tmp_path / "out" / f"{stem}.png") as picture:
            assert picture.mode == "P"
            assert np.array_equal(np.asarray(picture), mask)
            assert np.array_equal(np.reshape(picture.getpalette(), (256, 3)), voc_palette())
    given = SoftLabelStore.open(run_dir / "labels").given()
    assert not np.array_equal(masks[0], given[0])
    assert masks[1].shape == (5, 12)
    assert read_classes(tmp_path / "out" / "classes.txt").names == NAMES


@pytest.mark.parametrize("reviewed", [False, True])
@pytest.mark.parametrize(
    ("names", "pairs"),
    [(("sea", "port", "starboard", "deck"), [[1, 2]]), (("road", "left lane", "right lane", "verge"), [])],
)
def test_the_classes_file_says_what_a_mirror_exchanges(run_dir, tmp_path, names, pairs, reviewed):
    Details("segmentation", 4, names, STEMS, input_record={"flip_pairs": pairs}).write(run_dir)
    if reviewed:
        write_mask_items(run_dir)
    export(run_dir, tmp_path / "out")
    read = read_classes(tmp_path / "out" / "classes.txt")
    assert (read.names, [list(pair) for pair in read.flip_pairs]) == (names, pairs)
    with Image.open(tmp_path / "out" / "b.png") as picture:
        assert np.array_equal(np.reshape(picture.getpalette(), (256, 3)), read.palette)


def test_left_and_right_and_a_class_0_that_is_a_thing_have_their_colours_in_every_format(run_dir, tmp_path):
    names = ("sky", "left shoe", "right shoe", "face")
    Details("segmentation", 4, names, STEMS, tuple(f"{stem}.jpeg" for stem in STEMS)).write(run_dir)
    colours = palette_of_names(names)
    assert not (colours[:3] == voc_palette()[:3]).all(1).any()
    for kind in ("png", "cvat", "label-studio"):
        export(run_dir, tmp_path / kind, "--format", kind, *([] if kind == "png" else ["--background"]))
    with Image.open(tmp_path / "png" / "b.png") as picture:
        assert np.array_equal(np.reshape(picture.getpalette(), (256, 3)), colours)
    written = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colours[:4].tolist()]
    cvat = ET.parse(tmp_path / "cvat" / "annotations.xml")
    assert [each.text for each in cvat.iterfind("meta/task/labels/label/color")] == written
    config = ET.parse(tmp_path / "label-studio" / "labeling_config.xml")
    assert [each.get("background") for each in config.iterfind("BrushLabels/Label")] == written


def test_an_exported_folder_is_read_as_a_data_set(run_dir, tmp_path):
    masks = export(run_dir, tmp_path / "out", "--names", str(names_file(tmp_path, "wxyz")))
    images = tmp_path / "images"
    images.mkdir()
    for stem, mask in zip("wxyz", masks, strict=True):
        Image.fromarray(np.zeros((*mask.shape, 3), np.uint8)).save(images / f"{stem}.jpg")
    folder = Folder(images=images, masks=tmp_path / "out", classes=tmp_path / "out" / "classes.txt", values={})
    assert all(np.array_equal(folder.mask(index), masks[index]) for index in range(4))


def names_file(folder, names):
    path = folder / "names.txt"
    path.write_text("# order of the run\n" + "\n".join(names), encoding="utf-8")
    return path


@pytest.mark.parametrize("background", [False, True])
def test_coco(run_dir, tmp_path, background):
    masks = export(run_dir, tmp_path / "out", "--format", "coco", *(["--background"] if background else []))
    content = json.loads((tmp_path / "out" / "annotations.json").read_text(encoding="utf-8"))
    first = 0 if background else 1
    assert [(c["id"], c["name"]) for c in content["categories"]] == list(enumerate(NAMES))[first:]
    assert [image["file_name"] for image in content["images"]] == [f"{stem}.jpeg" for stem in STEMS]
    assert len({annotation["id"] for annotation in content["annotations"]}) == len(content["annotations"])
    for image, mask in zip(content["images"], masks, strict=True):
        assert (image["height"], image["width"]) == mask.shape
        own = [each for each in content["annotations"] if each["image_id"] == image["id"]]
        assert [each["category_id"] for each in own] == [k for k in range(first, 4) if (mask == k).any()]
        for each in own:
            pixels = decoded_counts(each["segmentation"]["counts"], each["segmentation"]["size"])
            assert np.array_equal(pixels, mask == each["category_id"])
            assert each["area"] == pixels.sum()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_pycocotools_reads_coco(run_dir, tmp_path, capsys):
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools")
    masks = export(run_dir, tmp_path / "out", "--format", "coco")
    read = coco.COCO(str(tmp_path / "out" / "annotations.json"))
    assert {read.cats[number]["name"] for number in read.getCatIds()} == set(NAMES[1:])
    for number, image_id in enumerate(read.getImgIds()):
        found = np.zeros_like(masks[number])
        for annotation in read.loadAnns(read.getAnnIds(imgIds=image_id)):
            pixels = read.annToMask(annotation).astype(bool)
            found[pixels] = annotation["category_id"]
            rows, columns = np.nonzero(pixels)
            assert annotation["bbox"][:2] == [columns.min(), rows.min()]
            assert annotation["bbox"][2:] == [np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert np.array_equal(found, np.where(masks[number] == 255, 0, masks[number]))


def test_cvat(run_dir, tmp_path):
    masks = export(run_dir, tmp_path / "out", "--format", "cvat", "--images", "photos")
    root = ET.parse(tmp_path / "out" / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    assert [label.text for label in root.iterfind("meta/task/labels/label/name")] == list(NAMES[1:])
    images = root.findall("image")
    assert [image.get("name") for image in images] == [f"photos/{stem}.jpeg" for stem in STEMS]
    for image, mask in zip(images, masks, strict=True):
        assert (int(image.get("height")), int(image.get("width"))) == mask.shape
        found = np.zeros_like(mask)
        for element in image.iterfind("mask"):
            place = [int(element.get(name)) for name in ("left", "top", "width", "height")]
            pixels = cvat_mask(element.get("rle"), *place, mask.shape)
            assert not found[pixels].any()
            found[pixels] = NAMES.index(element.get("label"))
        assert np.array_equal(found, np.where(mask == 255, 0, mask))


def test_label_studio(run_dir, tmp_path):
    masks = export(run_dir, tmp_path / "out", "--format", "label-studio", "--images", "/data/local-files/?d=")
    given = SoftLabelStore.open(run_dir / "labels").given()
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d={stem}.jpeg" for stem in STEMS]
    for task, mask, own in zip(tasks, masks, given, strict=True):
        assert len(task["annotations"]) == (own.size > 0)
        for name, expected in (("predictions", mask), *([("annotations", own)] if own.size else [])):
            found = np.zeros_like(expected)
            for region in task[name][0]["result"]:
                shape = region["original_height"], region["original_width"]
                assert shape == expected.shape
                values = decoded_label_studio(region["value"]["rle"]).reshape(*shape, 4)
                found[values[:, :, 3] == 255] = NAMES.index(region["value"]["brushlabels"][0])
            assert np.array_equal(found, np.where(expected == 255, 0, expected))
    config = ET.parse(tmp_path / "out" / "labeling_config.xml").getroot()
    assert [label.get("value") for label in config.iterfind("BrushLabels/Label")] == list(NAMES[1:])


def test_label_studio_accepts_the_tasks(run_dir, tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason="needs label-studio-sdk")
    export(run_dir, tmp_path / "out", "--format", "label-studio")
    config = interface.LabelInterface((tmp_path / "out" / "labeling_config.xml").read_text(encoding="utf-8"))
    for task in json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8")):
        assert config.validate_task({"data": task["data"]})
        for kind in ("annotation", "prediction"):
            for each in task[f"{kind}s"]:
                assert getattr(config, f"validate_{kind}")(each)


def test_without_names_positions_and_numbers(run_dir, tmp_path, capsys):
    export(run_dir, tmp_path / "said")
    assert capsys.readouterr().err == ""
    (run_dir / "details.json").unlink()
    export(run_dir, tmp_path / "png")
    warned = capsys.readouterr().err.splitlines()
    for line, what, word in zip(warned, ("classes", "samples"), ("--classes", "--names"), strict=True):
        assert line.startswith(f"noisycorrect: {run_dir} does not say what its {what} are called: it has no details")
        assert f"pass {word} FILE, a name a line" in line
    assert {path.name for path in (tmp_path / "png").iterdir()} == {f"{number:06}.png" for number in range(4)}
    export(run_dir, tmp_path / "coco", "--format", "coco", "--suffix", ".png")
    content = json.loads((tmp_path / "coco" / "annotations.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == [f"{number:06}.png" for number in range(4)]
    assert [category["name"] for category in content["categories"]] == ["1", "2", "3"]
    (tmp_path / "classes.txt").write_text("\n".join(NAMES), encoding="utf-8")
    capsys.readouterr()
    export(run_dir, tmp_path / "named", "--format", "coco", "--classes", str(tmp_path / "classes.txt"))
    assert "--names" in capsys.readouterr().err
    content = json.loads((tmp_path / "named" / "annotations.json").read_text(encoding="utf-8"))
    assert [category["name"] for category in content["categories"]] == list(NAMES[1:])


@pytest.mark.parametrize("stem", ["../a", "/etc/a", "a/../../b", "C:\\a", "a//b", "."])
def test_no_file_leaves_the_folder(stem, run_dir, tmp_path, capsys):
    Details("segmentation", 4, NAMES, (stem, "b", "c", "d")).write(run_dir)
    for name in ("png", "coco", "cvat", "label-studio"):
        assert main(["export", str(run_dir), str(tmp_path / "deep" / "out"), "--format", name]) == 2
        assert "names of samples that can be files in a folder" in capsys.readouterr().err
    assert list((tmp_path / "deep").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"run", "deep"}


def test_what_a_failed_export_leaves(run_dir, tmp_path, capsys):
    for words, message in [
        (["--format", "csv"], "a format for labels of the kind 'segmentation'; got 'csv'; to fix: choose plain or"),
        (["--names", str(names_file(tmp_path, "abc"))], "4 different names of samples; got 3 names"),
        (["--names", str(names_file(tmp_path, "abca"))], "3 of them different"),
        (["--classes", str(tmp_path / "nothing.txt")], "names in"),
        (["--probs"], "--probs with class labels"),
        (["--generation", "3"], "one of generations"),
    ]:
        assert main(["export", str(run_dir), str(tmp_path / "out"), *words]) == 2
        names_file(tmp_path, "abc") if "3 names" in message else None
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"run", "names.txt"}
    (run_dir / "labels" / "given.h5").write_bytes(b"damaged")
    assert main(["export", str(run_dir), str(tmp_path / "out")]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"run", "names.txt"}


def test_formats_want_masks(tmp_path):
    store = SoftLabelStore.create(tmp_path / "labels", [0, 1], 2)
    labels = read_run_labels(store.folder)
    with pytest.raises(InvalidInputError, match="a run with a label store of masks"):
        FORMATS["coco/segmentation"].write(labels, tmp_path, ExportOptions())


def test_decisions_about_regions_flow_into_every_format(run_dir, tmp_path, capsys):
    """One mask is kept, of one some regions are accepted, two are undecided, and so corrected."""
    images = [f"../photos/{name}.jpg" for name in "wxyz"]
    for image in images:
        save_picture(run_dir / image)
    write_mask_items(run_dir, NAMES, ids=STEMS, images=images)
    store = SoftLabelStore.open(run_dir / "labels")
    view = store.kind.region_view(store.given, store.labels)
    regions = [region["id"] for region in view.regions(1)["regions"]]
    chosen = view.checked(1, {"accepted": regions[:1], "rejected": regions[1:]})
    journal = Journal(run_dir)
    journal.append(Decision(id=STEMS[0], action="keep"))
    journal.append(Decision(id=STEMS[1], action="accept", regions=chosen))
    expected = [store.given(0)[0], view.decided(1, chosen), *store.labels([2, 3])]
    assert len(regions) > 1
    assert not np.array_equal(expected[1], store.given(1)[0])
    assert not np.array_equal(expected[1], store.labels(1)[0])

    export(run_dir, tmp_path / "png")
    assert "4 labels (2 decided) written to" in capsys.readouterr().out
    for stem, mask in zip(STEMS, expected, strict=True):
        with Image.open(tmp_path / "png" / f"{stem}.png") as picture:
            assert np.array_equal(np.asarray(picture), mask)
    export(run_dir, tmp_path / "coco", "--format", "coco")
    content = json.loads((tmp_path / "coco" / "annotations.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["w.jpg", "x.jpg", "y.jpg", "z.jpg"]
    export(run_dir, tmp_path / "tasks", "--format", "label-studio")
    tasks = json.loads((tmp_path / "tasks" / "tasks.json").read_text(encoding="utf-8"))
    for name, masks in (("annotations", expected), ("predictions", store.labels())):
        for number, mask in enumerate(masks[:2]):
            for region in tasks[number][name][0]["result"]:
                values = decoded_label_studio(region["value"]["rle"]).reshape(*mask.shape, 4)
                wanted = mask == NAMES.index(region["value"]["brushlabels"][0])
                assert np.array_equal(values[:, :, 0] == 255, wanted)


def test_a_data_set_tells_the_names_of_its_files(tmp_path):
    for folder in ("images/sub", "masks/sub"):
        (tmp_path / folder).mkdir(parents=True)
    for stem, suffix in (("sub/a", "jpg"), ("b", "png")):
        Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(tmp_path / "images" / f"{stem}.{suffix}")
        Image.fromarray(np.zeros((8, 6), np.uint8)).save(tmp_path / "masks" / f"{stem}.png")
    source = Folder(tmp_path, classes=["background", "person"])
    data = ParsingDataset(source, (16, 16))
    assert dict(zip(data.sample_names, data.image_files, strict=True)) == {"sub/a": "sub/a.jpg", "b": "b.png"}
    assert HumanParsing(source.classes).class_names == ("background", "person")


def coco_files(run_dir, out, *words):
    export(run_dir, out, "--format", "coco", *words)
    content = json.loads((out / "annotations.json").read_text(encoding="utf-8"))
    return [image["file_name"] for image in content["images"]]


def test_images_keep_their_names_and_folders_under_review(run_dir, tmp_path):
    own = [f"{stem}.jpeg" for stem in STEMS]
    assert coco_files(run_dir, tmp_path / "before") == own
    write_mask_items(run_dir)
    assert coco_files(run_dir, tmp_path / "after") == own
    for file in own:
        save_picture(run_dir / "photos" / file)
    write_mask_items(run_dir, images=[run_dir / "photos" / file for file in own])
    assert coco_files(run_dir, tmp_path / "pictures", "--images", "p") == [f"p/{file}" for file in own]


def test_two_images_of_one_name_are_numbered(run_dir, tmp_path, capsys):
    names = ("a", "b", "a", "c")  # two folders joined
    Details("segmentation", 4, NAMES, names, tuple(f"{name}.jpeg" for name in names)).write(run_dir)
    assert coco_files(run_dir, tmp_path / "out") == [f"00000{number}.jpg" for number in range(4)]
    assert "they are numbered: pass --names FILE" in capsys.readouterr().err
