"""Networks that are more than parameters and buffers: what an average must not forget."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LowRank(nn.Linear):
    """y = (W + BA) x, with W frozen; ``eval()`` adds BA to W, ``train()`` takes it out again."""

    def __init__(self, inputs: int, outputs: int, rank: int = 2) -> None:
        super().__init__(inputs, outputs)
        self.a = nn.Parameter(0.3 * torch.randn(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        self.weight.requires_grad_(False)
        self.bias.requires_grad_(False)
        self.merged = False

    def train(self, mode: bool = True) -> LowRank:
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.b @ self.a)
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight, self.bias)
        return y if self.merged else y + x @ self.a.T @ self.b.T


class Remembers(nn.Module):
    """Has a buffer that grows, one that comes late, extra state, and a plain attribute that its output depends on."""

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("bank", torch.zeros(0, 4))
        self.register_buffer("centre", None)
        self.calls, self.scale = 0, 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            self.scale = 1 + 0.01 * self.calls
            self.bank = torch.cat([self.bank, x[:1].detach()])
            self.centre = self.bank.mean(0)
            if not hasattr(self, "late"):
                self.register_buffer("late", torch.ones(3))
            self.late = self.late * 0.99
        shift = 0.0 if self.centre is None else self.centre
        return self.scale * getattr(self, "late", 1.0) * self.layer(x - shift)

    def get_extra_state(self) -> dict[str, Any]:
        return {"calls": self.calls, "scale": self.scale}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.calls, self.scale = state["calls"], state["scale"]


class Folds(nn.Module):
    """In evaluation mode it uses what ``eval()`` has computed; without that, nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 6), nn.Linear(6, 3)
        self.folded: tuple[Tensor, Tensor] | None = None

    def train(self, mode: bool = True) -> Folds:
        super().train(mode)
        self.folded = None
        if not mode:
            with torch.no_grad():
                weight = self.other.weight @ self.one.weight
                self.folded = weight, self.other.weight @ self.one.bias + self.other.bias
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.other(self.one(x))  # type: ignore[no-any-return]
        assert self.folded is not None
        return F.linear(x, *self.folded)
