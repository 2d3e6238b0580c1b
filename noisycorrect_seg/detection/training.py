"""Training the detector of people: its targets, its loss, its loop."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, NonFiniteLossError
from noisycorrect.support.progress import samples_progress
from noisycorrect.support.rng import derived_seed
from noisycorrect.training.engine import resolve_device
from noisycorrect_seg.datasets.crops import normalise
from noisycorrect_seg.datasets.scenes import SyntheticScenes
from noisycorrect_seg.datasets.source import ParsingSource, instances_of
from noisycorrect_seg.detection.detector import STRIDE, PersonDetector
from noisycorrect_seg.geometry.crops import Augmentation, crop_matrix
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.warp import warp_image
from noisycorrect_seg.instances.boxes import Boxes, boxes_of

FOCUS, SPARE = 2, 4  # of the focal loss: exponents alpha and beta of the paper
NEAR = 0.5  # distances to edges are learnt where the heatmap's target is above
EDGE_WEIGHT = 1.0
LEAST_SIDE = 2.0  # pixels of the frame; smaller people are not learnt


class Targets(NamedTuple):
    """What the detector is to say of a picture: heat (h, w) in [0, 1], edges (4, h, w) in pixels, weight (h, w)."""

    heat: Tensor
    edges: Tensor
    weight: Tensor


@door
def train_detector(
    source: ParsingSource | None = None,
    *,
    epochs: int = 16,
    batch_size: int = 8,
    lr: float = 4e-3,
    size: Size = (128, 192),
    width: int = 8,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> PersonDetector:
    """Train a small detector of people on pictures with instance maps; on drawn scenes unless told otherwise.

    On the defaults one or two minutes on one core of a CPU. It knows what it was shown: one that learnt drawn people
    does not find them in photographs; train it on your own pictures, or pass a detector of others to
    :func:`~noisycorrect_seg.parse_people`.

    The heatmap's target is 1 at a box's centre and falls off as a Gaussian of a sixth of the box's sides; its loss is
    the penalty-reduced focal loss of CornerNet (Law and Deng, arXiv:1808.01244, eq. 1), the edges' the negative
    logarithm of the IoU (Yu et al., arXiv:1608.01471), near centres alone. AdamW, one cycle of the learning rate;
    pictures are mirrored, scaled and moved at random.

    Parameters
    ----------
    source : InstanceSource, optional
        Pictures whose people are known. Default: ``SyntheticScenes(200, seed=seed)``.
    epochs : int
        Times that every picture is seen.
    batch_size : int
        Pictures a step.
    lr : float
        Highest learning rate.
    size, width
        See :class:`PersonDetector`.
    seed : int
        Of weights, order and augmentation.
    device : str or torch.device
        ``"auto"``: a GPU, if there is one.
    progress : bool
        Show a bar on a terminal.

    Returns
    -------
    PersonDetector
        On the CPU, in evaluation mode.

    Raises
    ------
    InvalidInputError
        If an argument is out of range, or the source does not know whose a pixel is.
    NonFiniteLossError
        If the loss becomes NaN or infinite.

    Examples
    --------
    >>> scenes = SyntheticScenes(4, size=(64, 96))
    >>> detector = train_detector(scenes, epochs=1, size=(64, 96), width=4, progress=False)
    >>> detector.detect(scenes.image(0)).shape[1]
    5
    """
    rounds, step = whole_number("epochs", epochs, least=1), whole_number("batch_size", batch_size, least=2)
    seed = whole_number("seed", seed, least=0)
    rate = finite_number("lr", lr, above=0, below=1, fix="0.004 is the default")
    pictures = SyntheticScenes(200, seed=seed) if source is None else source
    where = resolve_device(device)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, "detector's weights"))
        detector = PersonDetector(size, width=width)
    detector.to(where).train()
    boxes = [boxes_of(instances_of(pictures, index))[1] for index in range(len(pictures))]
    if not any(len(each) for each in boxes):
        fix = "instance maps are 0 where a pixel is nobody's, and count people from 1"
        raise InvalidInputError(f"people in {len(pictures)} pictures", got="none", fix=fix)
    rng = np.random.default_rng(derived_seed(seed, "detector's pictures"))
    batches = max(1, len(pictures) // step)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=max(rate, 1e-12), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max(rate, 1e-12), total_steps=rounds * batches)
    with samples_progress(enabled=progress) as bar:
        task = bar.add_task("learning to find people", total=rounds * batches * step)
        for epoch in range(rounds):
            order = rng.permutation(len(pictures))
            for chosen in np.array_split(order, batches):
                samples = [_sample(pictures.image(i), boxes[i], detector.size, rng) for i in chosen.tolist()]
                images = torch.stack([image for image, _ in samples]).to(where)
                targets = Targets._make(
                    torch.stack(each).to(where) for each in zip(*(t for _, t in samples), strict=True)
                )
                heat, edges = detector(images)
                loss = detection_loss(heat, edges, targets)
                if not math.isfinite(value := float(loss.detach())):
                    raise NonFiniteLossError("a finite loss", got=f"{value} in epoch {epoch}", fix="lower lr")
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
                optimizer.step()
                schedule.step()
                bar.advance(task, len(chosen))
    return detector.cpu().eval()


def _sample(image: np.ndarray, boxes: Boxes, size: Size, rng: np.random.Generator) -> tuple[Tensor, Targets]:
    """Return a picture in the frame, mirrored, scaled and moved at random, and the targets of its people."""
    drawn = Augmentation(scale=float(rng.uniform(0.8, 1.25)), mirror=bool(rng.random() < 0.5))
    moved = rng.uniform(-0.1, 0.1, 2) * (size[1], size[0])
    if drawn.mirror:
        image = image[:, ::-1]
        boxes = np.stack([image.shape[1] - boxes[:, 2], boxes[:, 1], image.shape[1] - boxes[:, 0], boxes[:, 3]], 1)
    matrix = crop_matrix((image.shape[0], image.shape[1]), size, scale=drawn.scale)
    matrix[:, 2] += moved
    corners = [(boxes[:, low : low + 2] - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5 for low in (0, 2)]
    limits = np.array([size[1], size[0]])
    placed = np.concatenate([corner.clip(0, limits) for corner in corners], 1)
    return normalise(warp_image(np.ascontiguousarray(image), matrix, size)), targets_of(placed, size)


def targets_of(boxes: Boxes, size: Size) -> Targets:
    """Return what the detector is to say of boxes in its frame.

    Parameters
    ----------
    boxes : ndarray, shape (n, 4)
        Left, top, right and bottom edge in the frame's pixels; those with a side below two pixels are left out.
    size : (int, int)
        Height and width of the frame.

    Returns
    -------
    Targets
        Where several boxes are near, the edges are those of the one whose centre is nearest.

    Examples
    --------
    >>> targets = targets_of(np.array([[0.0, 0, 12, 12]]), (32, 32))
    >>> float(targets.heat[1, 1]), targets.edges[:, 1, 1].tolist()
    (1.0, [6.0, 6.0, 6.0, 6.0])
    """
    height, width = (side // STRIDE for side in size)
    heat, weight = torch.zeros(2, height, width, dtype=torch.float32)
    edges = torch.ones(4, height, width, dtype=torch.float32)
    ys = (torch.arange(height, dtype=torch.float32)[:, None] + 0.5) * STRIDE
    xs = (torch.arange(width, dtype=torch.float32)[None] + 0.5) * STRIDE
    for left, top, right, bottom in boxes.tolist():
        if min(right - left, bottom - top) < LEAST_SIDE:
            continue
        column, row = (min(int((low + high) / 2 / STRIDE), most - 1) for low, high, most in (
            (left, right, width), (top, bottom, height)))  # fmt: skip
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        spread = max((right - left) / 6, STRIDE / 2), max((bottom - top) / 6, STRIDE / 2)
        bell = torch.exp(-((xs - x) ** 2) / (2 * spread[0] ** 2) - (ys - y) ** 2 / (2 * spread[1] ** 2))
        sides = torch.stack([(each + 0 * heat) for each in (xs - left, ys - top, right - xs, bottom - ys)])
        nearest = (bell > heat) & (bell > NEAR) & (sides > 0).all(0)
        edges = torch.where(nearest, sides, edges)
        weight = torch.where(nearest, bell, weight)
        heat = torch.maximum(heat, bell)
    return Targets(heat, edges, weight)


def detection_loss(heat: Tensor, edges: Tensor, targets: Targets) -> Tensor:
    """Return the loss of a batch, a scalar: focal loss of the centres, by their number, and of the edges.

    Parameters
    ----------
    heat, edges : Tensor, shapes (N, 1, h, w) and (N, 4, h, w)
        Of the detector.
    targets : Targets
        With a batch axis.
    """
    logits, target = heat[:, 0], targets.heat
    probs, centre = logits.sigmoid(), target == 1
    found = -F.logsigmoid(logits) * (1 - probs) ** FOCUS
    other = -F.logsigmoid(-logits) * probs**FOCUS * (1 - target) ** SPARE
    centres = torch.where(centre, found, other).sum() / centre.sum().clamp(min=1)
    return centres + EDGE_WEIGHT * _edge_loss(edges, targets)


def _edge_loss(edges: Tensor, targets: Targets) -> Tensor:
    shared = torch.minimum(edges, targets.edges)
    areas = [(each[:, 0] + each[:, 2]) * (each[:, 1] + each[:, 3]) for each in (edges, targets.edges, shared)]
    overlap = areas[2] / (areas[0] + areas[1] - areas[2])
    return -(overlap.log() * targets.weight).sum() / targets.weight.sum().clamp(min=1)
