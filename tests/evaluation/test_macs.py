"""Multiply-accumulates against what can be counted by hand, and against all that torch really dispatched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lvc.evaluation.macs import Macs
from lvc.models.config import ModelConfig
from lvc.models.fused import Conv, available
from lvc.models.network import Codec


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], Any]], int]]:
    """What a function costs. All that is wrapped is put back."""
    for owner, names in ((F, ("conv2d", "conv_transpose2d", "linear")), (torch, ("matmul", "bmm"))):
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    for name in ("__call__", "plus"):
        monkeypatch.setattr(Conv, name, getattr(Conv, name))
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


needs_fused = pytest.mark.skipif(not available(), reason="this PyTorch has no convolutions with activations inside")


@needs_fused
def test_convolutions_with_activations_inside(cost: Callable[[Callable[[], Any]], int]) -> None:
    x = torch.zeros(1, 6, 10, 12).to(memory_format=torch.channels_last)
    assert cost(lambda: Conv(torch.zeros(4, 6, 3, 3), torch.zeros(4), "leaky_relu", 0.1)(x)) == 10 * 12 * 4 * 6 * 9
    assert cost(lambda: Conv(torch.zeros(6, 1, 3, 3), None).plus(x, x)) == 10 * 12 * 6 * 9


class Dispatched(TorchDispatchMode):
    """Adds up what every operation with a kernel or a matrix among its arguments costs, below all that is wrapped."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function._schema.name
        if "conv" in name or "mm" in name.split("::")[-1]:
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            weight = tensors[2 if name.endswith("pointwise") and function._overloadname == "binary" else 1]
            self.total += result.numel() * (weight[0].numel() if "conv" in name else weight.shape[0])
            self.names.add(name)
        return result


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_fused)])
def test_nothing_that_the_networks_run_goes_uncounted(cost: Callable[[Callable[[], Any]], int], fused: bool) -> None:
    """Whoever runs them in another way has to teach `Macs` about it."""
    config = ModelConfig(
        name="small", latent=32, hyper=4, inter_width=32, inter_encoder_blocks=1, inter_decoder_blocks=1,
        intra_width=32, intra_encoder_blocks=1, intra_decoder_blocks=1, side=16, scale_hidden=16,
    )  # fmt: skip
    net = Codec(config).requires_grad_(False).to(memory_format=torch.channels_last).of(1)
    if fused:
        net.fuse(torch.float32)
    seen = Dispatched()

    def run() -> None:
        x, w, level = torch.zeros(1, 96, 8, 8), torch.zeros(1, 96, 8, 8), torch.tensor([7.0])
        context = net.context(w, level)
        y = net.analysis(x, w, context, level)
        z = net.hyper_analysis(y, context)
        p, _ = net.means1(z.round(), context, (4, 4))
        net.means2(p, y)
        net.synthesis(y, context, level)

    run()  # weights are prepared once
    with seen:
        counted = cost(run)
    assert counted == seen.total > 1e6
    assert any("pointwise" in name for name in seen.names) == fused
