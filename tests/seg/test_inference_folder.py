"""A folder of photos becomes a folder of masks, whatever lies in it."""

import logging
import re
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from colour_coding import EIGHT, ReadsColours, coloured, random_mask
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from noisycorrect.cli import main
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import ACE2P, Folder
from noisycorrect_seg.classes import PASCAL
from noisycorrect_seg.inference import Recipe, parse_files, parse_folder, parse_image, parse_people, parse_scene
from noisycorrect_seg.inference.folder import _claims, output_names

SIZE = (128, 128)


@pytest.fixture
def photos(tmp_path):
    """Return a folder with photos, two of one stem, a broken one, and other files; and the masks by name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    masks = {}
    for seed, name in enumerate(["a.png", "b.png", "b.bmp", "C.PNG", "d.tiff"]):
        masks[name] = random_mask((20 + seed, 25 - seed), seed)
        Image.fromarray(coloured(masks[name])).save(folder / name)
    whole = (folder / "a.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.png").write_text("no photo")
    (folder / "inside").mkdir()
    return folder, masks


def read(path):
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


def test_every_photo_gets_its_mask_and_the_rest_is_reported(photos, tmp_path, caplog):
    folder, masks = photos
    model = ReadsColours()
    caplog.set_level(logging.INFO, logger="noisycorrect")
    with pytest.warns(UserWarning, match=r"1 images could not be read, such as .*broken\.png: .*failed has all"):
        report = parse_folder(model, folder, tmp_path / "out" / "masks", classes=EIGHT, size=SIZE, batch_size=4)
    expected = {"a.png": "a.png", "b.png": "b.png.png", "b.bmp": "b.bmp.png", "C.PNG": "C.png", "d.tiff": "d.png"}
    assert {image.name: mask.name for image, mask in report.written.items()} == expected
    for image, mask in report.written.items():
        assert np.array_equal(read(mask), masks[image.name])
    assert {path.name for path in (tmp_path / "out" / "masks").iterdir()} == set(expected.values())
    assert [path.name for path in report.skipped] == ["notes.txt"]
    assert [path.name for path in report.failed] == ["broken.png"]
    assert "broken.png" in report.failed[folder / "broken.png"]
    assert str(report) == "5 images parsed, 1 other files skipped, 1 images could not be read"
    assert [shape[0] for shape in model.seen] == [4, 1]  # in batches, without the broken one
    assert "notes.txt" in caplog.text


def test_overlays_and_probabilities_come_when_asked_for(tmp_path):
    mask = random_mask((12, 18))
    (tmp_path / "in").mkdir()
    Image.fromarray(coloured(mask)).save(tmp_path / "in" / "x.png")
    parse_folder(
        ReadsColours(),
        tmp_path / "in",
        tmp_path / "out",
        classes=EIGHT,
        size=SIZE,
        overlays=True,
        probs=True,
        flip=True,
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"x.png", "x-overlay.jpg", "x-probs.npz"}
    with Image.open(tmp_path / "out" / "x-overlay.jpg") as picture:
        assert picture.size == (18, 12)
    probs = np.load(tmp_path / "out" / "x-probs.npz")["probs"]
    assert probs.dtype == np.float16
    assert probs.shape == (8, 12, 18)
    assert np.array_equal(probs.argmax(0), mask)


def test_photos_and_folders_together_each_once(photos, tmp_path):
    folder, masks = photos
    other = tmp_path / "more"
    other.mkdir()
    Image.fromarray(coloured(masks["a.png"])).save(other / "a.png")
    Image.fromarray(coloured(masks["a.png"])).save(other / "odd.suffix", format="PNG")
    paths = [folder / "d.tiff", folder, folder / "d.tiff", other / "a.png", other / "odd.suffix"]
    report = parse_files(ReadsColours(), paths, tmp_path / "out", Recipe(EIGHT, SIZE))
    names = [mask.name for mask in report.written.values()]
    assert len(set(names)) == len(names) == 7
    assert {"photos-a.png.png", "more-a.png.png", "odd.png", "d.png"} < set(names)
    assert np.array_equal(read(tmp_path / "out" / "more-a.png.png"), masks["a.png"])


def test_masks_are_replaced_and_modes_come_back(photos, tmp_path):
    folder, masks = photos
    model = nn.Sequential(ReadsColours(output=False)).train()
    (folder / "broken.png").unlink()
    for _ in range(2):
        parse_folder(model, folder, tmp_path / "out", classes=EIGHT, size=SIZE)
    assert model.training
    assert np.array_equal(read(tmp_path / "out" / "a.png"), masks["a.png"])
    assert len(list((tmp_path / "out").iterdir())) == 5


PARTS = st.sampled_from(["a", "A", "a.jpg", "a.png", "b", "a-overlay", "x-a.jpg", "a.jpg-0"])


@given(
    st.lists(
        st.builds(lambda folder, stem, suffix: Path(folder) / f"{stem}{suffix}",
                  st.sampled_from(["x", "y", "z/x"]), PARTS, st.sampled_from([".jpg", ".JPG", ".png"])),
        max_size=8, unique=True,
    )
)  # fmt: skip
def test_no_two_images_share_a_file(images):
    claims = [claim for name in output_names(images) for claim in _claims(name)]
    assert len(set(claims)) == len(claims)


@pytest.mark.parametrize("stem", ["x" * 251, "\N{HIRAGANA LETTER A}" * 83], ids=["latin", "kana"])
def test_names_as_long_as_files_can_have_are_no_obstacle(stem, tmp_path):
    (tmp_path / "photos").mkdir()
    masks = {f"{stem[:-1]}{end}.png": random_mask((8, 6), seed) for seed, end in enumerate((stem[-1], "b"))}
    for name, mask in masks.items():
        Image.fromarray(coloured(mask)).save(tmp_path / "photos" / name)
    report = parse_folder(
        ReadsColours(), tmp_path / "photos", tmp_path / "out", classes=EIGHT, size=SIZE, overlays=True, probs=True
    )
    assert len(set(report.written.values())) == 2
    for photo, mask in report.written.items():
        assert np.array_equal(read(mask), masks[photo.name])
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_a_link_that_leads_nowhere_is_an_image_that_cannot_be_read(photos, tmp_path):
    folder, masks = photos
    for name in ("gone.png", "gone.txt"):
        (folder / name).symlink_to(tmp_path / "unmounted" / "a.png")
    with pytest.warns(UserWarning, match="2 images could not be read"):
        report = parse_folder(ReadsColours(), folder, tmp_path / "out", classes=EIGHT, size=SIZE)
    assert folder / "gone.png" in report.failed
    assert "no file" in report.failed[folder / "gone.png"]
    assert folder / "gone.txt" in report.skipped
    assert len(report.written) == len(masks)


def test_names_by_hand():
    paths = [Path("p/a.jpg"), Path("p/a.webp"), Path("p/a.jpg.png"), Path("p/b.jpg")]
    assert output_names(paths) == ["p-a.jpg", "a.webp", "a.jpg.png", "b"]


# ---------------------------------------------------------------- invalid input


def test_folders_that_will_not_do(photos, tmp_path):
    folder, _ = photos
    model = ReadsColours()
    with pytest.raises(InvalidInputError, match=r"a folder at .*nowhere; got none"):
        parse_folder(model, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InvalidInputError, match="a folder at .*a.png"):
        parse_folder(model, folder / "a.png", tmp_path / "out")
    with pytest.raises(InvalidInputError, match="at least one image; got none, and 0 other files"):
        parse_folder(model, folder / "inside", tmp_path / "out")
    with pytest.raises(InvalidInputError, match="an output folder of its own; got .*inside/.., where images are"):
        parse_folder(model, folder, folder / "inside" / "..", classes=EIGHT)
    with pytest.raises(InvalidInputError, match="to write into .*notes.txt"):
        parse_folder(model, folder, folder / "notes.txt", classes=EIGHT)
    with pytest.raises(InvalidInputError, match="batch_size to be a whole number >= 1; got 0"):
        parse_folder(model, folder, tmp_path / "out", classes=EIGHT, batch_size=0)
    with pytest.raises(InvalidInputError, match="tiles or a convention; got both, tiles and 'evaluator'"):
        parse_folder(model, folder, tmp_path / "out", classes=EIGHT, tile=SIZE, convention="evaluator")
    with pytest.raises(InvalidInputError, match=r"no file .*nowhere"):
        parse_files(model, [tmp_path / "nowhere"], tmp_path / "out", Recipe(EIGHT))
    assert not (tmp_path / "out").exists()
    assert model.seen == []


def test_a_mask_that_cannot_be_written_is_named(photos, tmp_path):
    folder, _ = photos
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    with pytest.raises(InvalidInputError, match=r"to write a into .*out; got .*directory"):
        parse_folder(ReadsColours(), folder, tmp_path / "out", classes=EIGHT, size=SIZE)
    assert not list((tmp_path / "out").glob(".*"))


def bomb(path, width=60_000, height=60_000):
    """Write a PNG of a few bytes whose header promises far more pixels than memory holds."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def test_an_image_bomb_is_named_and_costs_no_memory_and_no_other_photo(tmp_path):
    (tmp_path / "photos").mkdir()
    mask = random_mask((20, 25))
    Image.fromarray(coloured(mask)).save(tmp_path / "photos" / "a.png")
    bomb(tmp_path / "photos" / "bomb.png")
    message = r"an image of at most [\d,]+ pixels; got .*bomb.png: .*3600000000 pixels.*; to fix: scale it down"
    tracemalloc.start()
    for parse in (lambda path: parse_image(ReadsColours(), path, classes=EIGHT, size=SIZE),
                  lambda path: parse_people(ReadsColours(), path, [[0, 0, 9, 9]], classes=EIGHT, size=SIZE),
                  lambda path: parse_scene(ReadsColours(), path, classes=EIGHT, tile=SIZE)):  # fmt: skip
        with pytest.raises(InvalidInputError, match=message):
            parse(tmp_path / "photos" / "bomb.png")
    with pytest.warns(UserWarning, match="1 images could not be read, such as .*bomb.png"):
        report = parse_folder(ReadsColours(), tmp_path / "photos", tmp_path / "out", classes=EIGHT, size=SIZE)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()
    assert np.array_equal(read(tmp_path / "out" / "a.png"), mask)
    assert [path.name for path in report.failed] == ["bomb.png"]
    # The same of masks: the file is named when it is read, and nothing is trained.
    bomb(tmp_path / "out" / "a.png")
    folder = Folder(images=tmp_path / "photos", masks=tmp_path / "out", classes=EIGHT, unlabeled="skip", values={})
    with pytest.raises(InvalidInputError, match=r"an image of at most .*out/a.png"):
        folder.mask(0)


def one_folder(home, count=3):
    home.mkdir()
    for index in range(count):
        Image.fromarray(np.full((8, 8, 3), 40 * index, np.uint8)).save(home / f"{index:03d}.png")
        Image.fromarray(np.full((8, 8), index % 2, np.uint8)).save(home / f"{index:03d}_mask.png")
    return home


SEEMING = r"3 of 6 photos are named as another one with '_mask' behind, such as .*000_mask\.png.*To fix: move masks"


def test_masks_beside_photos_are_not_parsed_without_a_word(tmp_path):
    both = one_folder(tmp_path / "scans")
    with pytest.warns(UserWarning, match=SEEMING):
        assert len(parse_folder(ReadsColours(), both, tmp_path / "out", classes=EIGHT, size=SIZE).written) == 6
    one_by_one = parse_files(ReadsColours(), sorted(both.iterdir()), tmp_path / "out", Recipe(EIGHT, SIZE))
    assert re.search(SEEMING, one_by_one.doubtful)
    others = tmp_path / "others"
    others.mkdir()
    for name in ("1", "10", "2", "20", "a", "a (1)", "b_mask"):
        Image.new("RGB", (8, 8)).save(others / f"{name}.png")
    assert parse_folder(ReadsColours(), others, tmp_path / "out", classes=EIGHT, size=SIZE).doubtful is None


def test_images_in_folders_inside_are_counted_and_named(tmp_path, capsys):
    days = tmp_path / "days"
    for place in ("", "monday", "monday/noon", ".hidden", "out"):
        (days / place).mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(days / place / "a.png")
    said = f"2 images in folders inside were left out, such as those in {days / 'monday'}: parse these folders, too"
    with pytest.warns(UserWarning, match=re.escape(said)):
        report = parse_folder(ReadsColours(), days, days / "out", classes=EIGHT, size=SIZE)
    assert report.inside == {days / "monday": 1, days / "monday" / "noon": 1}
    assert str(report) == "1 images parsed, 2 images in folders inside left out"
    ACE2P(7, "resnet50", width=0.125).save(tmp_path / "net.pt", classes=PASCAL, size=(32, 32))
    words = ["--checkpoint", str(tmp_path / "net.pt"), "--out", str(days / "out")]
    assert main(["parse", str(days), *words]) == 0
    assert said in capsys.readouterr().err
    named = [days, days / "monday", days / "monday" / "noon"]
    assert main(["parse", *map(str, named), *words]) == 0
    assert "inside" not in capsys.readouterr().err
    (days / "a.png").unlink()
    with pytest.raises(InvalidInputError, match=r"got none, .*to fix: name the folders inside, such as .*monday"):
        parse_folder(ReadsColours(), days, days / "out", classes=EIGHT, size=SIZE)


def test_the_command_says_so_once_on_stderr(tmp_path, capsys):
    both = one_folder(tmp_path / "scans")
    ACE2P(7, "resnet50", width=0.125).save(tmp_path / "net.pt", classes=PASCAL, size=(32, 32))
    assert main(["parse", str(both), "--checkpoint", str(tmp_path / "net.pt"), "--out", str(tmp_path / "out")]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "_mask" in line]
    assert len(lines) == 1
    assert re.match("noisycorrect: " + SEEMING, lines[0])


def test_advice_on_the_command_line_names_nothing_of_python(tmp_path, capsys):
    Image.fromarray(np.full((8, 8), 9_000, np.uint16)).save(tmp_path / "deep.png")
    ACE2P(7, "resnet50", width=0.125).save(tmp_path / "net.pt", classes=PASCAL, size=(32, 32))
    words = ["--checkpoint", str(tmp_path / "net.pt"), "--out", str(tmp_path / "out")]
    assert main(["parse", str(tmp_path / "deep.png"), *words]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "deep.png" in line]
    assert line.endswith(
        "mode I;16; to fix: save it with the channels and bits of the images that the network was trained on"
    )
    assert "Folder" not in line
