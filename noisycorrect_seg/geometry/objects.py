"""Objects of masks: connected places of one class, what the evidence says of each, and which of them look wrong.

Masks go wrong by the object: an annotator leaves a shoe out, takes a skirt for a dress, draws all outlines too wide.
All functions work at the resolution of the evidence, on many masks at once, and compare what the evidence says of an
object with what it says on average of the objects of that class: one that is hard or rare is not argued away.

given : Tensor, shape (n, h, w), int64
    Given masks; what is outside 0..K-1 is ignored. Class 0 is the background.
evidence : Tensor, shape (n, K, h, w), float32
    Probabilities.

Both are on the CPU, as a store reads them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from noisycorrect_seg.geometry.maps import winners

_IN_PLANE = np.zeros((3, 3, 3, 3), bool)  # neighbours lie in the same mask and class, diagonals included
_IN_PLANE[1, 1] = True


class Objects(NamedTuple):
    """The objects of some masks.

    Attributes
    ----------
    ids : Tensor, shape (n, h, w), int64
        Which object a place belongs to, from 0; -1 where the mask ignores.
    classes, sizes : Tensor, shape (m,), int64
        Class and number of places of each object.
    votes : Tensor, shape (m, K), float32
        Mean evidence over its places.
    """

    ids: Tensor
    classes: Tensor
    sizes: Tensor
    votes: Tensor

    @property
    def own(self) -> Tensor:
        """Mean evidence of each object's own class, (m,)."""
        return self.votes.gather(1, self.classes[:, None])[:, 0]

    def places(self, chosen: Tensor) -> Tensor:
        """Return which places belong to the objects that are chosen, bool (m,)."""
        return self.spread(chosen, False)

    def spread(self, values: Tensor, ignored: int | bool) -> Tensor:
        """Return at each place the value of its object, (n, h, w), of the values (m,); `ignored` where none is."""
        return torch.cat([values, values.new_full((1,), ignored)])[self.ids]


def objects_of(masks: Tensor, evidence: Tensor) -> Objects:
    """Return the connected places of one class of some masks, and the evidence's votes on them.

    Examples
    --------
    >>> found = objects_of(torch.tensor([[[1, 0, 1]]]), torch.full((1, 2, 1, 3), 0.5))
    >>> found.ids.tolist(), found.classes.tolist(), found.sizes.tolist()
    ([[[1, 0, 2]]], [0, 1, 1], [1, 1, 1])
    """
    classes = evidence.shape[1]
    labels = masks.numpy()
    numbered, count = ndimage.label(labels[:, None] == np.arange(classes)[:, None, None], _IN_PLANE)
    ids = torch.from_numpy(numbered.max(1).astype(np.int64)) - 1
    known = ids >= 0
    own = torch.zeros(count, dtype=torch.int64).index_put_((ids[known],), masks[known])
    sizes = torch.bincount(ids[known], minlength=count)
    sums = torch.zeros(count, classes, dtype=torch.float32).index_add_(0, ids[known], evidence.movedim(1, -1)[known])
    return Objects(ids, own, sizes, sums / sizes[:, None].clamp(min=1))


class ClassConfidence(NamedTuple):
    """How sure the evidence is of the objects of each class, over many masks; two of them may be added field by field.

    Attributes
    ----------
    votes, objects : Tensor, shape (K,), float64
        Sum of the evidence's votes for their own class, and number, of the given objects of each class.
    hits, places : Tensor, shape (K,), float64
        Given places of each class that the evidence names so, and all of them.
    """

    votes: Tensor
    objects: Tensor
    hits: Tensor
    places: Tensor

    @classmethod
    def of(cls, given: Tensor, evidence: Tensor, least: int) -> ClassConfidence:
        """Return it over the objects of at least so many places."""
        classes = evidence.shape[1]
        found = objects_of(given, evidence)
        large = found.sizes >= least
        own, votes = found.classes[large], found.own[large].double()
        known = (given >= 0) & (given < classes)
        right = given[known & (winners(evidence) == given)]
        return cls(
            torch.zeros(classes, dtype=torch.float64).index_add_(0, own, votes),
            torch.bincount(own, minlength=classes).double(),
            torch.bincount(right, minlength=classes).double(),
            torch.bincount(given[known], minlength=classes).double(),
        )

    @property
    def mean(self) -> Tensor:
        """Mean vote for the own class, float32 (K,): confident learning's threshold, of objects; 1 for a class without.

        An object of another class is as sure to be of class k as its vote for k is beside this.
        """
        return torch.where(self.objects > 0, self.votes / self.objects.clamp(min=1), 1.0).float()

    @property
    def recall(self) -> Tensor:
        """Share of the given places that the evidence names so, float32 (K,); 0 for a class without."""
        return (self.hits / self.places.clamp(min=1)).float()


def mask_quality_by_objects(given: Tensor, evidence: Tensor, confidence: ClassConfidence, *, least: int) -> Tensor:
    r"""Return how far the evidence agrees with whole masks, float32 (n,), in [0, 1]; 1 for a mask without objects.

    The mean over a mask's objects of :math:`\min(1, e_o / c_k)`, with :math:`e_o` the evidence's vote for the object's
    own class k and :math:`c_k` that vote on average. Objects count alike: the background is one of them. A mask is no
    worse for showing a class that is hard.

    Parameters
    ----------
    given, evidence, confidence, least
        As for :func:`missing_objects`.

    Examples
    --------
    >>> given = torch.tensor([[[0, 1]], [[0, 1]]])
    >>> evidence = torch.tensor([[[[0.8, 0.2]], [[0.2, 0.8]]], [[[0.8, 0.8]], [[0.2, 0.2]]]])
    >>> mask_quality_by_objects(given, evidence, ClassConfidence.of(given, evidence, 1), least=1)
    tensor([1.0000, 0.7000])
    """
    found = objects_of(given, evidence)
    large = found.sizes >= least
    # The mask that each object lies in: that of any of its places.
    known = found.ids >= 0
    rows = torch.arange(len(given))[:, None, None].expand_as(found.ids)
    owner = torch.zeros(len(found.classes), dtype=torch.int64).index_put_((found.ids[known],), rows[known])
    share = (found.own / confidence.mean[found.classes].clamp(min=1e-6)).clamp(max=1)[large]
    sums = torch.zeros(len(given), dtype=torch.float32).index_add_(0, owner[large], share)
    counts = torch.bincount(owner[large], minlength=len(given))
    return torch.where(counts > 0, sums / counts.clamp(min=1), 1.0)


class SeenObjects(NamedTuple):
    """Objects that the evidence sees, beside the given masks.

    Attributes
    ----------
    objects : Objects
        Of the evidence's most probable classes.
    missing : Tensor, shape (m,), bool
        What the masks have left as background.
    elsewhere : Tensor, shape (m,), bool
        What lies where the masks show something else: the network's mistakes, or theirs.
    """

    objects: Objects
    missing: Tensor
    elsewhere: Tensor

    def counts(self, classes: int) -> Tensor:
        """Return how many objects of each class are missing, and how many lie elsewhere, int64 (2, K)."""
        own = self.objects.classes
        return torch.stack([torch.bincount(own[which], minlength=classes) for which in (self.missing, self.elsewhere)])


def missing_objects(
    given: Tensor,
    evidence: Tensor,
    confidence: ClassConfidence,
    *,
    least: int,
    sure: float,
    ground: float,
    recall: float = 0.0,
    attached: bool = False,
) -> SeenObjects:
    """Return the objects that the evidence sees, and which of them the mask has left as background.

    An object of the evidence's most probable classes is missing if the mask has nothing of its class in it or beside
    it, if at least the share `ground` of it is given background, if the evidence's vote for it is at least `sure` times
    that of the given objects of its class, and if the evidence knows that class: names at least the share `recall` of
    its given places so (after AIO2, Liu et al. 2024, arXiv:2403.01641, "fill in missing objects"; theirs are found by a
    fixed threshold). One that has nothing of its class in or beside it either, but less ground, lies elsewhere.

    Parameters
    ----------
    given, evidence
        See the module.
    confidence : ClassConfidence
        Over the whole set.
    least : int
        Places that an object has at least.
    sure, ground, recall : float
        See above; the last two in [0, 1].
    attached : bool
        Whether it must hang together with something that the mask shows, of whatever class, directly or by way of
        other things that the evidence sees.

    Examples
    --------
    >>> given = torch.tensor([[[0, 0, 0, 1]]])
    >>> evidence = torch.tensor([[0.1, 0.9, 0.9, 0.1], [0.9, 0.1, 0.1, 0.9]]).reshape(1, 2, 1, 4)
    >>> confidence = ClassConfidence.of(given, evidence, 1)
    >>> found = missing_objects(given, evidence, confidence, least=1, sure=0.9, ground=0.8)
    >>> found.objects.classes.tolist(), found.missing.tolist()
    ([0, 1, 1], [False, True, False])
    """
    seen = winners(evidence)
    found = objects_of(seen, evidence)
    count = len(found.classes)
    touched = torch.bincount(found.ids[_met(given, seen)], minlength=count)
    on_ground = torch.bincount(found.ids[given == 0], minlength=count) >= ground * found.sizes
    alone = (found.classes > 0) & (touched == 0) & (found.sizes >= least)
    missing = alone & on_ground
    missing &= found.own >= sure * confidence.mean[found.classes]
    missing &= confidence.recall[found.classes] >= recall
    if attached:
        missing &= torch.bincount(found.ids[_attached(given, seen, evidence.shape[1])], minlength=count) > 0
    return SeenObjects(found, missing, alone & ~on_ground)


def filled_places(given: Tensor, found: Objects, chosen: Tensor) -> Tensor:
    """Return the places of missing objects, and the background right beside them, where their outlines are blended.

    Parameters
    ----------
    given : Tensor
        See the module.
    found : Objects
        See :func:`missing_objects`.
    chosen : Tensor, shape (m,), bool
        Which of them are filled in.

    Examples
    --------
    >>> given = torch.tensor([[[0, 0, 0, 0, 1]]])
    >>> filled_places(given, objects_of(1 - given, torch.full((1, 2, 1, 5), 0.5)), torch.tensor([False, True]))
    tensor([[[ True,  True,  True,  True, False]]])
    """
    reach = F.max_pool2d(found.places(chosen).float().unsqueeze(1), 3, stride=1, padding=1)[:, 0] > 0
    return reach & (given == 0)


def _met(given: Tensor, wanted: Tensor) -> Tensor:
    """Return which places lie on or beside a given place of the class that is wanted there, bool (n, h, w)."""
    height, width = wanted.shape[1:]
    around = F.pad(given, (1, 1, 1, 1), value=-1)
    met = torch.zeros_like(wanted, dtype=torch.bool)
    for down in range(3):
        for right in range(3):
            met |= around[:, down : down + height, right : right + width] == wanted
    return met


def _attached(given: Tensor, seen: Tensor, classes: int) -> Tensor:
    """Return what is seen or given, and hangs together with something given, bool (n, h, w)."""
    shown = (given > 0) & (given < classes)
    numbered, count = ndimage.label((shown | (seen > 0)).numpy(), _IN_PLANE[1])
    ids = torch.from_numpy(numbered.astype(np.int64))
    held = torch.zeros(count + 1, dtype=torch.bool)
    held[ids[shown]] = True
    return held[ids]


def suggested_classes(
    given: Tensor, found: Objects, confidence: ClassConfidence, *, least: int, sure: float, recall: float
) -> Tensor:
    """Return the class that the evidence takes each given object for, int64 (m,); its own where it agrees or is unsure.

    The vote on an object is put in relation to that on the given objects of each class: confident learning (Northcutt
    et al. 2021, sec. 3.1), an object being the sample. Another class is suggested if it has the highest relation, which
    is at least `sure`, and the evidence knows both classes: names at least the share `recall` of their given places so.
    Nothing is taken for background: a network that misses an object is no witness against it. Nor is an object taken
    for what lies right beside it: whoever drew the two has told them apart, as a bag from the coat that it hangs on.

    Parameters
    ----------
    given : Tensor
        See the module.
    found : Objects
        Of the given masks.
    confidence, least
        As for :func:`missing_objects`.
    sure, recall : float
        See above.
    """
    relation = found.votes / confidence.mean.clamp(min=1e-6)
    relation[:, 0] = 0
    best, suggested = relation.max(1)
    known = confidence.recall >= recall
    other = (found.classes > 0) & (found.sizes >= least)
    other &= (best >= sure) & known[suggested] & known[found.classes]
    other &= found.votes.gather(1, suggested[:, None])[:, 0] > found.own
    beside = found.ids[_met(given, found.spread(suggested, -2))]  # -1 is the edge of a mask
    other &= torch.bincount(beside, minlength=len(other)) == 0
    return torch.where(other, suggested, found.classes)


def misnamed_objects(found: Objects, suggested: Tensor, allowed: Tensor) -> Tensor:
    """Return the places of given objects that the evidence takes for objects of another class, bool (n, h, w).

    Parameters
    ----------
    found : Objects
        Of the given masks.
    suggested : Tensor, shape (m,), int64
        See :func:`suggested_classes`.
    allowed : Tensor, shape (K, K), bool
        Which given classes (rows) may be taken for which ones: see :func:`~noisycorrect_seg.geometry.habits.one_way`.

    Examples
    --------
    >>> found = objects_of(torch.tensor([[[1, 0, 2]]]), torch.full((1, 3, 1, 3), 1 / 3))
    >>> misnamed_objects(found, torch.tensor([0, 2, 1]), torch.tensor([[0, 0, 0], [0, 0, 0], [0, 1, 0]]) > 0)
    tensor([[[False, False,  True]]])
    """
    return found.places((suggested != found.classes) & allowed[found.classes, suggested])
