"""Masks under review: regions of disagreement, and the masks that decisions lead to."""

import io
import tracemalloc

import numpy as np
import pytest
from cleaning_runs import save_picture, write_mask_store, write_run, write_store_run
from PIL import Image
from scipy import ndimage

from noisycorrect import SoftLabelStore
from noisycorrect.review.session import Decision, Journal, has_items, read_items
from noisycorrect.saved.details import Details
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import palette_of_names
from noisycorrect_seg.sessions import REST, MaskRegions, differing_regions, final_masks, write_mask_items

NAMES = ["background", "cat", "dog"]


def masks(seed, size=(40, 50), classes=4):
    """Return two smooth random masks with some ignored pixels."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        fields = ndimage.gaussian_filter(rng.normal(size=(classes, *size)), (0, 3, 3))
        mask = fields.argmax(0).astype(np.uint8)
        mask[rng.random(size) < 0.01] = 255
        found.append(mask)
    return found


def slow_regions(given, corrected):
    """Return the components as sets of pixels by a search that knows nothing of arrays."""
    differs = (given != corrected) & (given != 255) & (corrected != 255)
    todo, found = set(zip(*np.nonzero(differs), strict=True)), []
    while todo:
        start = todo.pop()
        region, edge = {start}, [start]
        while edge:
            y, x = edge.pop()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    near = (y + dy, x + dx)
                    if near in todo and given[near] == given[start] and corrected[near] == corrected[start]:
                        todo.remove(near)
                        region.add(near)
                        edge.append(near)
        found.append(frozenset(region))
    return set(found)


@pytest.mark.parametrize("seed", range(4))
def test_regions_are_the_components_of_each_pair_of_classes(seed):
    given, corrected = masks(seed)
    places, regions = differing_regions(given, corrected, most=10_000, least_share=0)
    found = [frozenset(zip(*np.nonzero(places == number), strict=True)) for number in range(len(regions))]
    assert set(found) == slow_regions(given, corrected)
    for region, pixels in zip(regions, found, strict=True):
        rows, columns = zip(*pixels, strict=True)
        assert region.pixels == len(pixels)
        assert region.box == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
        assert region.id == min(y * given.shape[1] + x for y, x in pixels)
        assert {(given[p], corrected[p]) for p in pixels} == {(region.given, region.suggested)}
    sizes = [region.pixels for region in regions]
    assert sizes == sorted(sizes, reverse=True)


def test_small_differences_are_decided_about_together():
    given, corrected = masks(1)
    every = differing_regions(given, corrected, most=10_000, least_share=0)[1]
    places, regions = differing_regions(given, corrected, most=3, least_share=0)
    assert [region.id for region in regions] == [*(region.id for region in every[:3]), REST]
    assert regions[-1].pixels == sum(region.pixels for region in every[3:]) == (places == 3).sum()
    assert len(differing_regions(given, corrected, least_share=0.01)[1]) < len(every)
    assert differing_regions(given, given)[1] == []


def test_the_layer_of_regions_says_which_pixel_is_whose():
    given, corrected = masks(2, size=(300, 300))
    view = MaskRegions(lambda rows: [given], lambda rows: [corrected], 4)
    with Image.open(io.BytesIO(view.layer(0, "regions"))) as image:
        red, green, blue = np.asarray(image).astype(int).transpose(2, 0, 1)
    place = red * 65536 + green * 256 + blue - 1
    regions = view.regions(0)["regions"]
    assert np.bincount(place[place >= 0]).tolist() == [region["pixels"] for region in regions]
    with Image.open(io.BytesIO(view.layer(0, "given"))) as image:
        layer = np.asarray(image)
    assert np.array_equal(layer[..., 3] == 0, (given == 0) | (given == 255))
    assert layer[given == 1][0].tolist() == [*view.colours[1], 255]


def test_accepted_regions_are_corrected_and_no_other_pixel():
    given, corrected = masks(3)
    view = MaskRegions(lambda rows: [given], lambda rows: [corrected], 4)
    ids = [region["id"] for region in view.regions(0)["regions"]]
    places, _ = differing_regions(given, corrected)
    mixed = view.decided(0, view.checked(0, {"accepted": ids[::2], "rejected": ids[1::2]}))
    assert np.array_equal(mixed, np.where((places >= 0) & (places % 2 == 0), corrected, given))
    assert np.array_equal(view.decided(0, None), given)
    both = (given != 255) & (corrected != 255)
    every = view.decided(0, view.checked(0, {"accepted": ids, "rejected": []}))
    assert np.array_equal(every, np.where(both, corrected, given))


@pytest.mark.parametrize(
    "said",
    [{}, {"accepted": [], "rejected": []}, {"accepted": "x", "rejected": []}, {"accepted": [1.5], "rejected": []},
     {"accepted": [54, 54, 30 + 18 * 48], "rejected": []}, {"accepted": [True], "rejected": []}],
)  # fmt: skip
def test_a_decision_is_about_every_region_once(tmp_path, said):
    store = write_mask_store(tmp_path)
    view = store.kind.region_view(store.given, store.labels)
    with pytest.raises(InvalidInputError, match="region"):
        view.checked(0, said)


def test_final_masks_are_decisions_over_corrected_ones(tmp_path):
    store = write_mask_store(tmp_path, count=4)
    write_mask_items(tmp_path, NAMES, ids=list("abcd"))
    header, items = read_items(tmp_path)
    assert (header.kind, items[0].given, items[0].suggested, items[0].image) == ("mask", "dog", "cat", None)
    view = store.kind.region_view(store.given, store.labels)
    first, second = (region["id"] for region in view.regions(0)["regions"])
    journal = Journal(tmp_path)
    journal.append(
        Decision(id="a", action="accept", regions=view.checked(0, {"accepted": [second], "rejected": [first]}))
    )
    journal.append(Decision(id="b", action="keep"))
    journal.append(Decision(id="c", action="skip"))
    journal.append(
        Decision(id="d", action="accept", regions={"accepted": [first, second], "rejected": [], "digest": 0})
    )
    found = {name: (mask, decided) for name, mask, decided in final_masks(tmp_path)}
    corners = {name: (mask[8, 8], mask[22, 35], decided) for name, (mask, decided) in found.items()}
    assert corners == {
        "a": (2, 1, True), "b": (2, 2, True), "c": (1, 1, False),
        "d": (1, 1, False),  # decided about other masks than these
    }  # fmt: skip
    assert found["a"][0][0, 0] == 255
    assert np.array_equal(found["b"][0], store.given(1)[0])


def test_items_are_called_as_the_run_calls_them(tmp_path):
    store = write_mask_store(tmp_path)
    with pytest.raises(InvalidInputError, match=r"classes=; got none"):
        write_mask_items(tmp_path)
    Details("segmentation", 3, tuple(NAMES), ("a", "b", "c"), ("a.jpg", "b.jpg", "c.jpg")).write(tmp_path)
    for said in (
        {"classes": NAMES[::-1]}, {"ids": ["a", "c", "b"]}, {"images": ["x/c.jpg", "x/b.jpg", "x/a.jpg"]},
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=f"{next(iter(said))} as the run knows them"):
            write_mask_items(tmp_path, **said)
    assert not has_items(tmp_path)
    save_picture(tmp_path / "images" / "a.jpg")
    with pytest.warns(UserWarning, match=r"2 of 3 images do not exist, such as images/b.jpg, images/c.jpg: "):
        assert write_mask_items(tmp_path, images=[f"images/{name}.jpg" for name in "abc"]) == 3
    header, items = read_items(tmp_path)
    assert (header.classes, [item.id for item in items]) == (tuple(NAMES), ["a", "b", "c"])
    Details("segmentation", 3, tuple(NAMES), ("a", "b", "a")).write(tmp_path)  # one that was drawn twice
    assert write_mask_items(tmp_path) == write_mask_items(tmp_path, ids=["a", "b", "a-2"]) == len(store)


def test_samples_without_a_mask_have_the_corrected_one(tmp_path):
    import torch

    store = SoftLabelStore.create(tmp_path / "labels", [np.zeros((4, 4), np.uint8), None], 3, kind="segmentation")
    with store.new_generation() as writer:
        writer.write([0, 1], torch.eye(3)[[0, 2]][:, :, None, None].expand(2, 3, 4, 4))
    write_mask_items(tmp_path, NAMES, ids=["a", "b"])
    view = store.kind.region_view(store.given, store.labels)
    assert view.regions(1) == {"size": [4, 4], "regions": []}
    Journal(tmp_path).append(
        Decision(id="b", action="accept", regions=view.checked(1, {"accepted": [], "rejected": []}))
    )
    assert [(mask.max(), decided) for _, mask, decided in final_masks(tmp_path)] == [(0, False), (2, True)]


def test_panels_of_a_report_lie_over_the_picture(tmp_path):
    store = write_mask_store(tmp_path)
    view = store.kind.region_view(store.given, store.labels)
    picture = save_picture(tmp_path / "a.png", colour=(0, 0, 250), size=(96, 64))  # of another size than the mask
    panels = view.panels(0, picture, side=48)
    assert [title for title, _ in panels] == ["given", "corrected"]
    with Image.open(io.BytesIO(panels[0][1])) as image:
        assert image.size == (48, 32)
        assert image.getpixel((24, 4))[2] > 230
    (tmp_path / "a.png").write_bytes(b"broken")
    with Image.open(io.BytesIO(view.panels(0, picture, side=48)[0][1])) as image:
        assert abs(image.getpixel((24, 4))[2] - 128) < 8


def test_a_class_0_that_is_a_thing_is_seen_in_the_review(tmp_path):
    store = write_mask_store(tmp_path)
    view = store.kind.region_view(store.given, store.labels)
    (given,) = store.given([0])
    names = ("sky", "left arm", "right arm", "sea")[: store.num_classes]
    for named in (False, True):
        if named:
            view.name_classes(names)
            assert view.colours == palette_of_names(names)[: len(names)].tolist()
        with Image.open(io.BytesIO(view.layer(0, "given"))) as picture:
            pixels = np.asarray(picture)
        assert ((pixels[..., 3] == 255) == ((given != 255) & (named | (given > 0)))).all()
        shown = pixels[..., 3] == 255
        assert (pixels[shown][:, :3] == np.array(view.colours)[given[shown]]).all()


def test_other_labels_have_no_regions(tmp_path):
    folder, store = write_store_run(tmp_path / "classes", count=30)
    assert store.kind.region_view(store.given, store.labels) is None
    with pytest.raises(InvalidInputError, match="a cleaning run of masks"):
        next(final_masks(folder))
    write_mask_store(tmp_path / "masks")
    write_run(tmp_path / "masks", [], kind="mask")
    with pytest.raises(InvalidInputError, match="3 labels of segmentation, 0 items"):
        next(final_masks(tmp_path / "masks"))


def test_memory_is_that_of_few_masks():
    given, corrected = np.zeros((256, 256), np.uint8), np.zeros((256, 256), np.uint8)
    corrected[:9, :9] = 1
    view = MaskRegions(lambda rows: [given.copy()], lambda rows: [corrected.copy()], 4)
    tracemalloc.start()
    for row in range(60):
        view.regions(row)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    one = 2 * given.nbytes + 4 * given.size  # two masks, and the places of regions as int32
    assert 10 * one < held < 20 * one
