"""The decoder's gradient: what it computes on the way is the engine's, and what it says of a step comes true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lvc.engine import gradient
from lvc.engine import program as p
from lvc.engine.coder import Coder
from lvc.engine.motion import LUMA_WEIGHT
from lvc.engine.planes import LUMA_PATCH
from lvc.errors import UnsupportedError
from tests.helpers.small_models import model

ROW, SIZE = 40, (28, 36)


def coded(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A key frame's patches and latents' values."""
    rng = np.random.default_rng(seed)
    network = model().network("key")
    (latent, *_), (hyper, *_) = network._symbol_tensors()
    y = (rng.laplace(0, 25, network.shape(latent, size))).astype(np.int16)
    z = rng.integers(-1, 2, network.shape(hyper, size)).astype(np.int16)
    patches, values = network.run([], size, ROW, coder=Coder(), y=y, z=z)
    return patches, values


def test_the_layers_compute_what_the_engine_does() -> None:
    patches, values = coded(0)
    layers = gradient.Differentiable(model().programs.programs["key"])
    with torch.no_grad():
        made = layers.run(torch.from_numpy(values[None].astype(np.float32)), [ROW])[0].numpy()
    apart = np.abs(made - patches)
    assert patches.std() > 100 and apart.max() <= 1 and (apart > 0).mean() < 0.001


def test_a_step_against_the_gradient_lowers_the_error_as_it_says() -> None:
    """Many latents move by half a step: what the rounding in the layers changes is little beside that."""
    (patches, values), (target, _) = coded(1), coded(2)
    key = model().network("key")
    weight = np.where(np.arange(patches.shape[2]) < LUMA_PATCH, LUMA_WEIGHT, 1.0)

    def error(values: np.ndarray) -> float:
        layers = gradient.Differentiable(key.program)
        with torch.no_grad():
            made = layers.run(torch.from_numpy(values[None].astype(np.float32)), [ROW])[0].numpy()
        return float((weight * (made - target.astype(np.float64)) ** 2).sum())

    found = model().gradient("key").at(values, target, ROW)
    by = np.where(np.abs(found) > np.quantile(np.abs(found), 0.99), -8 * np.sign(found), 0)
    said = float((found * by).sum() + 0.5 * (model().gradient("key").curvature(ROW) * by**2).sum())
    came = error(values + by) - error(values)
    assert said < 0 and 0.7 < came / said < 1.4


def test_strips_have_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, values), (target, _) = coded(1, (64, 16)), coded(2, (64, 16))
    whole = model().gradient("key").at(values, target, ROW)
    strips = []
    alone = gradient.Gradient._alone

    def counted(self: gradient.Gradient, values: np.ndarray, target: np.ndarray, row: int, *more: Any) -> np.ndarray:
        strips.append(len(values))
        return alone(self, values, target, row, *more)

    monkeypatch.setattr(gradient.Gradient, "_alone", counted)
    monkeypatch.setattr(gradient, "STRIP", (8 + 2 * gradient.MARGIN) * values.shape[1])
    found = model().gradient("key").at(values, target, ROW)
    assert strips == [12, 16, 16, 12]
    assert 0 < (found - whole).std() < 0.01 * whole.std()


def test_the_curvature_is_that_of_the_rows_gain() -> None:
    """A step of a finer row is smaller in samples; λ rises by 2 every 8 rows, so that a step falls by 2 every 16."""
    found = model().gradient("key")
    coarse, fine = found.curvature(32), found.curvature(64)
    assert (coarse > 0).all() and (fine > 0).all() and 8 < coarse.mean() / fine.mean() < 32
    assert np.array_equal(gradient.Gradient(model().programs.programs["key"]).curvature(64), fine)


def test_a_program_with_other_layers_is_refused() -> None:
    tensors = [p.Tensor(kind, kind, 4, channels) for kind, channels in ((p.S16, 4), (p.S16, 1), (p.U7, 1), (p.S16, 4))]
    layers = [
        p.Layer(p.CODE, 0, [p.Source(1), p.Source(2)], outputs=4),
        p.Layer(p.DEPTHWISE, 3, [p.Source(0)], outputs=4),
    ]
    with pytest.raises(UnsupportedError, match="a layer depthwise point behind latents"):
        gradient.Differentiable(p.Program(tensors, layers, [1, 2], [3]))
