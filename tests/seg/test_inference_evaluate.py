"""Figures over a source, against parsing image by image."""

import numpy as np
import pytest
import torch
from colour_coding import EIGHT, ReadsColours, coloured, random_mask
from spawn import run_processes

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.inference import evaluate_source, parse_image
from noisycorrect_seg.scores import SegmentationMetrics


class Coloured:
    """Images that show their masks; some pixels of the masks are wrong or ignored, one image has none."""

    classes = EIGHT

    def __init__(self, count=7, flaws=0.2, blocks=1):
        self.count, self.flaws, self.blocks = count, flaws, blocks

    def __len__(self):
        return self.count

    def name(self, index):
        return f"number {index}"

    def image(self, index):
        mask = random_mask((7 + index, 12 - index), index)
        return coloured(np.kron(mask, np.ones((self.blocks, self.blocks), np.uint8)))

    def mask(self, index):
        if index == 3:
            return None
        mask = np.kron(random_mask((7 + index, 12 - index), index), np.ones((self.blocks, self.blocks), np.uint8))
        rng = np.random.default_rng(index + 100)
        mask[rng.random(mask.shape) < self.flaws] = 1
        mask[rng.random(mask.shape) < self.flaws / 2] = 255
        return mask


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(torch.as_tensor(other[name]), torch.as_tensor(value), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("convention", ["extractor", "evaluator"])
def test_figures_are_those_of_images_one_by_one(convention):
    source, model = Coloured(), ReadsColours()
    options = {"size": (61, 64), "convention": convention, "scales": (1.0, 0.5), "flip": True}
    metrics = SegmentationMetrics(8, boundary_width=1)
    for index in (0, 1, 2, 4, 5, 6):
        parsing = parse_image(model, source.image(index), classes=EIGHT, **options)
        metrics.update(parsing.labels, source.mask(index))
    model.seen.clear()
    found = evaluate_source(model, source, batch_size=2, boundary_width=1, **options)
    same(found, {"images": 6, **metrics.compute()})
    assert [shape[0] for shape in model.seen] == [4, 4, 2, 2, 4, 4, 2, 2]  # two scales each; the third has one mask


def test_a_perfect_model_scores_one():
    found = evaluate_source(ReadsColours(), Coloured(flaws=0), size=(64, 64))
    assert found["images"] == 6
    assert found["pixel_accuracy"] == found["mean_iou"] == found["published_mean_iou"] == 1


def test_cut_centres_cost_a_perfect_model_half_a_pixel():
    """Images of even size lose half a pixel along both axes, as the published figures of such images did."""
    source, model = Coloured(count=3, flaws=0, blocks=2), ReadsColours()
    options = {"size": (128, 128), "official_centres": True}
    metrics = SegmentationMetrics(8)
    for index in range(3):
        parsing = parse_image(model, source.image(index), classes=EIGHT, convention="evaluator", **options)
        metrics.update(parsing.labels, source.mask(index))
    official = evaluate_source(model, source, **options)
    same(official, {"images": 3, **metrics.compute()})
    assert evaluate_source(model, source, size=(128, 128))["mean_iou"] == 1
    assert official["mean_iou"] < 0.75


class Mirrored(Coloured):
    """Images and masks from right to left: views, or copies of them."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def image(self, index):
        return self.kept(super().image(index)[:, ::-1])

    def mask(self, index):
        mask = super().mask(index)
        return None if mask is None else self.kept(mask[:, ::-1])


@pytest.mark.parametrize("options", [{"size": (64, 64)}, {"tile": (32, 32)}])
@pytest.mark.parametrize("kept", [np.asarray, lambda view: view.astype(">u2") if view.ndim == 2 else view])
def test_arrays_of_any_strides_and_byte_order(options, kept):
    expected = evaluate_source(ReadsColours(), Mirrored(np.ascontiguousarray), **options)
    same(evaluate_source(ReadsColours(), Mirrored(kept), **options), expected)


def test_no_masks_is_no_figure():
    class Bare(Coloured):
        def mask(self, index):
            return None

    found = evaluate_source(ReadsColours(), Bare(), size=(16, 16))
    assert found["images"] == 0
    assert np.isnan(found["mean_iou"])


def figures():
    return evaluate_source(ReadsColours(), Coloured(), size=(61, 64), batch_size=2, boundary_width=1)


class Torn(Coloured):
    """One image cannot be read."""

    def image(self, index):
        if index == 5:
            raise InvalidInputError("a readable image", got="number 5")
        return super().image(index)


def on_a_rank():
    found = figures()
    with pytest.raises(Exception, match="number 5") as caught:
        evaluate_source(ReadsColours(), Torn(), size=(16, 16))
    return found, type(caught.value).__name__


def test_two_ranks_share_the_images_and_agree(tmp_path):
    alone = figures()
    results = run_processes(on_a_rank, 2, tmp_path)
    for found, _ in results:
        same(found, alone)
    assert [error for _, error in results] == ["NoisyCorrectError", "InvalidInputError"]  # nobody waits for ever


# ---------------------------------------------------------------- invalid input


def test_a_mask_of_another_size_is_named():
    class Wrong(Coloured):
        def mask(self, index):
            return random_mask((3, 3))

    with pytest.raises(InvalidInputError, match=r"a mask of the image's size \(7, 12\); got \(3, 3\) of 'number 0'"):
        evaluate_source(ReadsColours(), Wrong(), size=(16, 16))


def test_a_network_of_other_classes_is_not_measured_without_a_word():
    model, source = ReadsColours(), Coloured(2)
    model.classes = Classes("theirs", tuple("ABCDEFGH"))  # case does not count
    expected = evaluate_source(model, source, size=(12, 12))
    model.classes = Classes("theirs", (*source.classes.names[:-1], "umbrella"))
    with pytest.warns(UserWarning, match="class 7 is 'umbrella' of the network, and .* of the masks, .* Remapped"):
        same(evaluate_source(model, source, size=(12, 12)), expected)
    model.classes = Classes("few", source.classes.names[:-1])
    with pytest.raises(InvalidInputError, match=r"masks of 7 classes, .*\('few'\); got 8 .*Remapped"):
        evaluate_source(model, source, size=(12, 12))


def test_arguments_out_of_range():
    with pytest.raises(InvalidInputError, match="batch_size"):
        evaluate_source(ReadsColours(), Coloured(), batch_size=0)
    with pytest.raises(InvalidInputError, match="a known convention"):
        evaluate_source(ReadsColours(), Coloured(), convention="published")
    with pytest.raises(InvalidInputError, match="boundary_width"):
        evaluate_source(ReadsColours(), Coloured(), boundary_width=-1)
