"""A film of drawn people and a network that is unsure of it: `from small_film import FRAMES, MODEL, OPTIONS`."""

import torch
from torch import nn

from noisycorrect_seg.datasets import MovingPeople

FILM = MovingPeople(9, seed=1, size=(32, 40), people=2, classes="people")
FRAMES = [FILM.image(index) for index in range(len(FILM))]


class Noisy(nn.Module):
    """A network that is unsure: three classes by colour, at full resolution, the same for equal inputs."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.conv.bias.zero_()
            self.conv.weight.copy_(torch.randn(self.conv.weight.shape, generator=generator))

    def forward(self, images):
        return self.conv(images)


MODEL = Noisy()
OPTIONS = {
    "classes": ["a", "b", "c"],
    "size": (32, 32),
    "batch_size": 2,
    "window": 2,
    "progress": False,
    "device": "cpu",
}
