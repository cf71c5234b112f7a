"""Muon (Jordan 2024) for 1x1 convolutions: momentum, orthogonalised by five Newton-Schulz steps in bf16."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class Muon(torch.optim.Optimizer):
    """Parameters are [out, in, 1, 1] weights; equal shapes are orthogonalised as one batch."""

    def __init__(self, params: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[torch.nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(tuple(p.shape), []).append(p)
            for shape, params in shapes.items():
                for p in params:
                    if "momentum" not in self.state[p]:
                        self.state[p]["momentum"] = torch.zeros_like(p)
                    self.state[p]["momentum"].mul_(group["momentum"]).add_(p.grad)
                x = torch.stack([p.grad + group["momentum"] * self.state[p]["momentum"] for p in params]).flatten(2)
                tall = shape[0] > shape[1]
                x = (x.mT if tall else x).bfloat16()
                x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
                for _ in range(5):
                    g = x @ x.mT
                    x = 3.4445 * x + (-4.7750 * g + 2.0315 * g @ g) @ x
                x = (x.mT if tall else x).float() * (-group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5)
                for p, update in zip(params, x, strict=True):
                    p.add_(update.reshape(shape))
