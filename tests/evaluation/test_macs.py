"""Multiply-accumulates against what can be counted by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lvc.evaluation.macs import Macs


def test_convolutions_and_products(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    for owner, names in ((F, ("conv2d", "conv_transpose2d", "linear")), (torch, ("matmul", "bmm"))):
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))  # put back after the test
    macs = Macs()
    macs.count()

    def cost(run) -> int:  # type: ignore[no-untyped-def]
        before = macs.total
        with torch.inference_mode():
            run()
        return macs.total - before

    x = torch.zeros(1, 6, 10, 12)
    assert cost(lambda: nn.Conv2d(6, 4, 3, padding=1)(x)) == 10 * 12 * 4 * 6 * 9
    assert cost(lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6)(x)) == 10 * 12 * 6 * 9
    assert cost(lambda: nn.Conv2d(6, 4, 2, stride=2)(x)) == 5 * 6 * 4 * 6 * 4
    assert cost(lambda: nn.ConvTranspose2d(6, 4, 2, stride=2)(x)) == 10 * 12 * 6 * 4 * 4
    assert cost(lambda: nn.Linear(5, 7)(torch.zeros(3, 5))) == 3 * 5 * 7
    assert cost(lambda: torch.matmul(torch.zeros(2, 3), torch.zeros(3, 4))) == 2 * 3 * 4
