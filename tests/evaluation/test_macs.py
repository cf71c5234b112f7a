"""Multiply-accumulates against what can be counted by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lvc.engine.nets import Network
from lvc.evaluation.macs import Macs
from tests.helpers.small_models import model


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], Any]], int]]:
    """What a function costs. All that is wrapped is put back."""
    for owner, names in ((F, ("conv2d", "conv_transpose2d", "linear")), (torch, ("matmul", "bmm"))):
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(Network, "run", Network.run)
    macs = Macs()
    macs.count()

    def measured(run: Callable[[], Any]) -> int:
        before = macs.total
        with torch.inference_mode():
            run()
        return macs.total - before

    yield measured


def test_convolutions_and_products(cost: Callable[[Callable[[], Any]], int]) -> None:
    x = torch.zeros(1, 6, 10, 12)
    assert cost(lambda: nn.Conv2d(6, 4, 3, padding=1)(x)) == 10 * 12 * 4 * 6 * 9
    assert cost(lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6)(x)) == 10 * 12 * 6 * 9
    assert cost(lambda: nn.Conv2d(6, 4, 2, stride=2)(x)) == 5 * 6 * 4 * 6 * 4
    assert cost(lambda: nn.ConvTranspose2d(6, 4, 2, stride=2)(x)) == 10 * 12 * 6 * 4 * 4
    assert cost(lambda: nn.Linear(5, 7)(torch.zeros(3, 5))) == 3 * 5 * 7
    assert cost(lambda: torch.matmul(torch.zeros(2, 3), torch.zeros(3, 4))) == 2 * 3 * 4


def test_programs_of_the_engine(cost: Callable[[Callable[[], Any]], int]) -> None:
    network, size = model().network("linear"), (4, 6)
    values = np.zeros((2, 3, 128), np.int16)
    macs = 2 * 3 * (128 + 128 * 4 * 96)  # a gain, and a product that makes four pixels of one
    assert cost(lambda: network.run([values], size)) == macs
    wanted = np.array([[1, 0, 0], [0, 0, 1]])
    assert cost(lambda: network.run([values], size, wanted=wanted)) == macs / 3
