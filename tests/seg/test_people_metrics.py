"""The figures of CIHP and MHP against slow oracles that look at one mask at a time, in float64."""

import math

import numpy as np
import pytest

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.instances.scores import THRESHOLDS, PeopleMetrics, average_precision


def overlap(one, other):
    union = np.logical_or(one, other).sum(dtype=np.float64)
    return np.logical_and(one, other).sum(dtype=np.float64) / union if union else math.nan


def area(hits, count):
    """The area below the precision envelope, one detection at a time."""
    points, right = [], 0
    for place, hit in enumerate(hits, 1):
        right += hit
        points.append((right / count, right / place))
    total, before = 0.0, 0.0
    for place, (recall, _) in enumerate(points):
        total += (recall - before) * max(precision for _, precision in points[place:])
        before = recall
    return total


def ranked(entries):
    """Entries (score, ...) by descending score, the earlier first among equal ones."""
    return sorted(entries, key=lambda entry: -entry[0])


def oracle_parts(pictures, classes, threshold, *, again=False):
    """AP^r: after the published evaluation, each true part counted once unless `again`."""
    found = {}
    for number in range(1, classes):
        entries, count = [], 0
        for place, (people, labels, scores, true_people, true_labels) in enumerate(pictures):
            known = true_labels != 255
            true = [
                mask
                for person in np.unique(true_people[true_people > 0])
                if (mask := (true_people == person) & (true_labels == number) & known).any()
            ]
            count += len(true)
            for person in np.unique(people[people > 0]):
                own = (people == person) & (labels == number) & known
                if own.any():
                    best = max(range(len(true)), key=lambda j: overlap(own, true[j]), default=None)
                    value = 0.0 if best is None else overlap(own, true[best])
                    entries.append((scores[person - 1], (place, best), value))
        if not count:
            continue
        hits, met = [], set()
        for _, which, value in ranked(entries):
            hit = value > threshold and (again or which not in met)
            met |= {which} if value > threshold else set()
            hits.append(hit)
        found[number] = area(hits, count)
    return found


def oracle_people(pictures, classes, threshold):
    """AP^p and PCP: the mean IoU over classes of whole-picture maps, as MHP's published evaluation does it."""
    entries, count = [], 0
    for place, (people, labels, scores, true_people, true_labels) in enumerate(pictures):
        known = true_labels != 255
        true = []
        for person in np.unique(true_people[true_people > 0]):
            mine = np.where(true_people == person, true_labels, 0)[known]
            if (mine > 0).any():
                true.append(mine)
        count += len(true)
        for person in np.unique(people[people > 0]):
            own = np.where(people == person, labels, 0)[known]
            if not (own > 0).any():
                continue
            ious = [[overlap(own == k, mine == k) for k in range(classes)] for mine in true]
            best = max(range(len(true)), key=lambda j: np.nanmean(ious[j]), default=None)
            if best is None:
                entries.append((scores[person - 1], None, 0.0, 0.0))
                continue
            parts = [k for k in range(1, classes) if (true[best] == k).any()]
            share = sum(ious[best][k] > threshold for k in range(1, classes) if not math.isnan(ious[best][k]))
            entries.append((scores[person - 1], (place, best), np.nanmean(ious[best]), share / len(parts)))
    hits, met, shares = [], set(), []
    for _, which, value, share in ranked(entries):
        hit = value > threshold and which not in met
        if hit:
            met.add(which)
            shares.append(share)
        hits.append(hit)
    return area(hits, count), sum(shares) / count


def picture(rng, classes):
    """People as rectangles, painted over each other; the prediction moves, loses and adds some."""
    true_people, true_labels = np.zeros((24, 30), np.int32), np.zeros((24, 30), np.uint8)
    people, labels = true_people.copy(), true_labels.copy()
    count = int(rng.integers(1, 5))
    for number in range(1, count + 1):
        top, left = rng.integers(0, 14, 2)
        for maps, moved, own in (
            ((true_people, true_labels), 0, number),
            ((people, labels), int(rng.integers(-2, 3)), number),
        ):
            if maps[0] is people and rng.random() < 0.15:
                continue
            for part in range(3):
                rows = slice(max(0, top + 3 * part + moved), top + 3 * part + 4 + moved)
                kind = int(rng.integers(0, classes)) if maps[0] is people and rng.random() < 0.2 else part % classes
                maps[0][rows, left : left + 9], maps[1][rows, left : left + 9] = own, kind
    if rng.random() < 0.5:
        people[20:24, 20:30], labels[20:24, 20:30] = count + 1, 1
    true_labels[rng.random(true_labels.shape) < 0.02] = 255
    return people, labels, rng.choice([0.3, 0.5, 0.7, 0.9], count + 1).tolist(), true_people, true_labels


@pytest.mark.parametrize("seed", range(6))
def test_every_figure_is_the_oracles(seed):
    rng, classes = np.random.default_rng(seed), 4
    pictures = [picture(rng, classes) for _ in range(5)]
    metrics = PeopleMetrics(classes)
    for each in pictures:
        metrics.update(*each)
    figures = metrics.compute()
    vols = {"apr": [], "published_apr": [], "app": [], "pcp": []}
    for threshold in THRESHOLDS:
        for name, again in (("apr", False), ("published_apr", True)):
            by_class = oracle_parts(pictures, classes, threshold, again=again)
            got = metrics.class_precision(threshold, published=again)
            assert {number: got[number] for number in by_class} == pytest.approx(by_class, abs=1e-12)
            assert np.isnan(got[[k for k in range(classes) if k not in by_class]]).all()
            vols[name].append(np.mean(list(by_class.values())))
        people, parts = oracle_people(pictures, classes, threshold)
        assert figures[f"app_{threshold:g}"] == pytest.approx(people, abs=1e-12)
        assert figures[f"pcp_{threshold:g}"] == pytest.approx(parts, abs=1e-12)
        vols["app"].append(people)
        vols["pcp"].append(parts)
    for name, values in vols.items():
        assert figures[f"{name}_vol"] == pytest.approx(np.mean(values), abs=1e-12)


def test_a_part_that_is_found_twice_counts_once():
    true = np.ones((4, 4), np.int32)
    two = np.array([[1] * 4] * 3 + [[2] * 4])
    metrics = PeopleMetrics(2)
    metrics.update(two, np.ones((4, 4), int), [0.9, 0.8], true, np.ones((4, 4), int))
    # At 0.1 and 0.2 both meet the true part; the second is wrong for us and right for the published evaluation.
    assert metrics.class_precision(0.2)[1] == 1.0
    assert metrics.class_precision(0.2, published=True)[1] == 2.0


def test_average_precision_by_hand():
    assert average_precision(np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision(np.zeros(0), np.zeros(0)) == 0


def test_nobody_found_is_zero_and_nobody_there_is_nan():
    nobody, people, classes = np.zeros((3, 3), int), np.ones((3, 3), int), np.ones((3, 3), int)
    missed, empty = PeopleMetrics(2), PeopleMetrics(2)
    missed.update(nobody, nobody, [], people, classes)
    empty.update(people, classes, [0.5], nobody, nobody)
    assert missed.compute()["apr_vol"] == missed.compute()["app_0.5"] == missed.compute()["pcp_0.5"] == 0
    assert all(math.isnan(empty.compute()[name]) for name in ("apr_vol", "app_0.5", "pcp_0.5"))


def test_what_is_wrong_is_said_and_counts_nothing():
    metrics, ones = PeopleMetrics(3), np.ones((2, 2), int)
    with pytest.raises(InvalidInputError, match="a score for every person"):
        metrics.update(ones * 2, ones, [0.5], ones, ones)
    with pytest.raises(InvalidInputError, match="four maps of whole numbers"):
        metrics.update(ones, np.ones((2, 3), int), [0.5], ones, ones)
    with pytest.raises(InvalidInputError, match=r"predictions in 0\.\.2"):
        metrics.update(ones, ones * 7, [0.5], ones, ones)
    assert metrics.compute()["people"] == 0


def test_of_more_than_255_classes_255_counts_and_65535_does_not():
    metrics = PeopleMetrics(300)
    classes, whose = np.array([[255, 255, 299, 0]]), np.array([[1, 1, 1, 0]])
    true = np.array([[255, 65535, 299, 0]])
    metrics.update(whose, classes, [1.0], whose, true)
    figures = metrics.compute()
    assert figures["app_0.5"] == figures["pcp_0.5"] == figures["mean_iou"] == 1.0
    metrics.update(whose, np.array([[254, 255, 299, 0]]), [1.0], whose, true)  # class 255 is missed
    assert metrics.compute()["mean_iou"] < 1
