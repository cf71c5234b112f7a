"""Drawn scenes whose motion is known, and networks that are made on the spot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lvc.interpolate.network import Interpolation, InterpolationNet


@pytest.fixture(scope="session")
def plain() -> Interpolation:
    """A network that only takes the mean of both compensated frames."""
    torch.manual_seed(0)
    net = InterpolationNet().eval().requires_grad_(False)
    net.direct.bias[1] = -20  # type: ignore[index]
    return Interpolation(net, torch.device("cpu"), "")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """What a job sets is put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
