"""Networks in their own precision, and programs that were exported for a size and a number of images."""

import numpy as np
import pytest
import torch
from colour_coding import EIGHT, ReadsColours, coloured, random_mask
from PIL import Image
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import parse_frames, parse_people, parse_video
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.export import export_program
from noisycorrect_seg.inference import parse_folder, parse_image
from noisycorrect_seg.inference.calling import FixedInput, fixed_input, meant_by, parts_for

SIZE = (48, 32)


class Seen(nn.Module):
    """A layer that keeps what it was called with."""

    def __init__(self, dtype):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Conv2d(3, 20, 1).to(dtype)
        self.dtypes = []

    def forward(self, crops):
        self.dtypes.append(crops.dtype)
        return self.layer(crops)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_network_is_called_in_the_dtype_of_its_weights(dtype):
    image = coloured(random_mask((30, 20)))
    network, wide = Seen(dtype), Seen(torch.float32)
    found = parse_image(network, image, size=SIZE, scales=(0.5, 1.0), flip=True, probs=True)
    expected = parse_image(wide, image, size=SIZE, scales=(0.5, 1.0), flip=True, probs=True)
    assert set(network.dtypes) == {dtype}
    assert found.probs.dtype == np.float32
    np.testing.assert_allclose(found.probs, expected.probs, rtol=0, atol=0.02 if dtype != torch.float64 else 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_whole_network_in_half_precision(dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ACE2P(7, "resnet18", width=0.125).eval()
    image = coloured(random_mask((30, 20)))
    expected = parse_image(network, image, classes="pascal", size=(65, 49), probs=True)
    found = parse_image(network.to(dtype), image, classes="pascal", size=(65, 49), probs=True)
    np.testing.assert_allclose(found.probs, expected.probs, rtol=0, atol=0.02)
    assert next(network.parameters()).dtype == dtype


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    for batch in (1, 3):
        export_program(ReadsColours(), SIZE, folder / f"{batch}.pt2", batch_size=batch)
    return folder


@pytest.mark.parametrize("batch", [1, 3])
def test_a_program_is_called_as_often_as_its_number_of_images_needs(programs, batch, tmp_path):
    program = torch.export.load(programs / f"{batch}.pt2")
    assert fixed_input(program.module()) == FixedInput(batch, *SIZE)
    masks = [random_mask((12, 8), seed) for seed in range(4)]
    (tmp_path / "photos").mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(coloured(mask)).save(tmp_path / "photos" / f"{number}.png")
    # Its size is in the file, and the program itself is taken as well as its module.
    report = parse_folder(program, tmp_path / "photos", tmp_path / "out", classes=EIGHT, batch_size=4, progress=False)
    for number, path in enumerate(sorted(report.written.values())):
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), masks[number])


@pytest.mark.parametrize("batch", [1, 3])
def test_a_program_and_its_mirror(programs, batch):
    classes = Classes("eight", EIGHT.names, ((1, 2), (4, 7)))
    image = coloured(random_mask((12, 8)))
    program = torch.export.load(programs / f"{batch}.pt2").module()
    found = parse_image(program, image, classes=classes, flip=True, probs=True)
    expected = parse_image(ReadsColours(), image, classes=classes, size=SIZE, flip=True, probs=True)
    np.testing.assert_allclose(found.probs, expected.probs, rtol=0, atol=1e-6)
    without = parse_image(program, image, classes=classes, probs=True)
    assert np.abs(found.probs - without.probs).max() > 0.1


def test_a_program_at_another_size_says_so(programs):
    program = torch.export.load(programs / "1.pt2")
    image = coloured(random_mask((12, 8)))
    with pytest.raises(InvalidInputError, match=r"images of 48 x 32, the size that .* got 24 x 16; to fix: .*scales="):
        parse_image(program, image, classes=EIGHT, scales=(0.5, 1.0))
    with pytest.raises(InvalidInputError, match=r"got 473 x 473; to fix: pass size=\(48, 32\)"):
        parse_image(program, image, classes=EIGHT, size=(473, 473))


def test_open_dimensions_stay_open():
    program = torch.export.export(
        nn.Conv2d(3, 2, 1), (torch.zeros(2, 3, 8, 9),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    assert fixed_input(program.module()) == FixedInput(None, 8, 9)
    assert fixed_input(torch.fx.symbolic_trace(nn.Sequential(nn.ReLU()))) == FixedInput()
    crops = torch.arange(10.0).view(5, 2, 1, 1).expand(5, 2, 8, 9)
    (whole,) = parts_for(program.module(), crops)
    assert whole is crops


def test_what_a_network_says_of_itself():
    network = nn.Conv2d(3, 8, 1)
    network.classes, network.size = EIGHT, (64, 48)
    assert meant_by(network) == (EIGHT, (64, 48))
    assert meant_by(nn.DataParallel(network)) == (EIGHT, (64, 48))
    assert meant_by(network, "atr", (8, 8))[0].name == "atr"
    network.classes, network.size, network.channels = ["a"], 64, 8  # attributes of others that mean something else
    assert meant_by(network)[0].name == "lip"
    assert meant_by(network)[1] == (473, 473)
    assert parse_image(network, np.zeros((9, 8, 3), np.uint8), classes=EIGHT, size=(8, 8)).labels.shape == (9, 8)


def test_people_and_videos_take_a_network_at_its_word(tmp_path):
    """Not LIP's classes at 473 x 473, without a word, of a network that says what it is."""
    network, mask = ReadsColours(), random_mask((96, 64))
    network.classes, network.size = EIGHT, (96, 64)
    image = coloured(mask)
    alone = parse_image(network, image)
    (frame,) = parse_frames(network, [image], window=0)
    parsed = parse_video(network, [image], tmp_path / "video", window=0, progress=False)
    people = parse_people(network, image, [[0, 0, 64, 96]], margin=0)
    for found in (alone, frame.parsing, parsed[0]):
        assert found.classes == EIGHT
        assert np.array_equal(found.labels, alone.labels)
    assert people.class_list == EIGHT


def test_people_and_frames_are_parsed_by_an_exported_program(tmp_path):
    export_program(ReadsColours(), (96, 64), tmp_path / "network.pt2", batch_size=2)
    program, image = torch.export.load(tmp_path / "network.pt2"), coloured(random_mask((96, 64)))
    (frame,) = parse_frames(program, [image], classes=EIGHT, window=0)
    assert np.array_equal(frame.parsing.labels, parse_image(program, image, classes=EIGHT).labels)
    assert len(parse_people(program, image, [[0, 0, 64, 96]], classes=EIGHT).people) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripts_are_networks_frozen_ones_too(tmp_path):
    network, image = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)), coloured(random_mask((96, 64)))
    expected = parse_image(network, image, classes=EIGHT, size=(96, 64)).labels
    frozen = torch.jit.freeze(torch.jit.script(network.eval()))
    torch.jit.save(frozen, tmp_path / "frozen.pt")
    for script in (torch.jit.script(network), frozen, torch.jit.load(tmp_path / "frozen.pt")):
        assert np.array_equal(parse_image(script, image, classes=EIGHT, size=(96, 64)).labels, expected)
    frozen.digest = "weights of May"  # it shows none, so that a video could not be resumed with it
    for _ in range(2):
        parse_video(frozen, [image], tmp_path / "video", classes=EIGHT, size=(96, 64), window=0, progress=False)
