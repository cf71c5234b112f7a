"""The decoder's gradient: torch's of the same integers, the same by every engine, and what it says of a step comes
true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lvc.adaptation.synthesis import Differentiable
from lvc.engine import gradient
from lvc.engine import program as p
from lvc.engine.coder import Coder
from lvc.engine.gradient import Gradient
from lvc.engine.library import ISAS, runs
from lvc.engine.motion import LUMA_WEIGHT
from lvc.engine.nets import set_threads
from lvc.engine.planes import LUMA_PATCH
from lvc.errors import UnsupportedError
from tests.helpers.small_models import model

ROW, SIZE = 40, (28, 36)


def latents(name: str, seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """A frame's patches, latents' values, and prediction and difference of a predicted frame."""
    rng = np.random.default_rng(seed)
    network = model().network(name)
    (latent, *_), (hyper, *_) = network._symbol_tensors()
    y = (rng.laplace(0, 6, network.shape(latent, size))).astype(np.int16)
    z = rng.integers(-1, 2, network.shape(hyper, size)).astype(np.int16)
    smooth = rng.normal(0, 300, (2, *(n // 4 for n in size), 1)).repeat(4, 1).repeat(4, 2) + rng.normal(0, 60, 96)
    context = list(smooth.astype(np.int16)) if name == "predicted" else []
    flags = [np.full((size[0] // 2, size[1] // 2, 1), 127, np.uint8)] if context else []
    patches, values = network.run(context + flags, size, ROW, coder=Coder(), y=y, z=z)
    return patches, values, context


def coded(seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A key frame's patches and latents' values."""
    return latents("key", seed, size)[:2]


def weights(counted: np.ndarray | None = None) -> np.ndarray:
    of = np.where(np.arange(96) < LUMA_PATCH, LUMA_WEIGHT, 1.0).astype(np.float32)
    return of if counted is None else of * counted.repeat(2, 0).repeat(2, 1)[..., None]


def torchs(
    name: str, values: np.ndarray, target: np.ndarray, context: list[np.ndarray], counted: np.ndarray | None = None
) -> np.ndarray:
    x, *given = (torch.from_numpy(a[None].astype(np.float32)) for a in (values, *context))
    made = Differentiable(model().programs.programs[name]).run(x.requires_grad_(), [ROW], *given)
    cost = (made - torch.from_numpy(target[None].astype(np.float32))).square() * torch.from_numpy(weights(counted))
    return torch.autograd.grad(cost.sum(), x)[0][0].numpy()


@pytest.mark.parametrize("name", ["key", "predicted"])
@pytest.mark.parametrize("part", [False, True])
def test_it_is_the_gradient_of_the_layers(name: str, part: bool) -> None:
    """Torch derives the same integers in floats; products of 7 bits are a little beside that."""
    _, values, context = latents(name, 1)
    target, _, _ = latents(name, 2)
    counted = np.add.outer(*(np.arange(n) for n in values.shape[:2])) < 4 if part else None
    wanted = torchs(name, values, target, context, counted)
    found = Gradient(model().programs, name).at(values, target, ROW, *context, counted=counted)
    assert found.shape == values.shape and wanted.std() > 0
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.998
    assert 0.99 < (found * wanted).sum() / (wanted * wanted).sum() < 1.01
    if part:
        assert (wanted == 0).any() and not found[(wanted == 0).all(-1)].any()


def test_every_engine_and_number_of_threads_gives_the_same() -> None:
    _, values, context = latents("predicted", 1)
    target, _, _ = latents("predicted", 2)
    found = []
    try:
        for isa, threads in [(isa, n) for isa in ISAS if runs(isa) for n in (1, 3)]:
            set_threads(threads)
            found.append(Gradient(model().programs, "predicted", isa).at(values, target, ROW, *context))
    finally:
        set_threads(1)
    assert len(found) >= 2 and all(np.array_equal(found[0], other) for other in found[1:])


def test_the_layers_compute_what_the_engine_does() -> None:
    patches, values = coded(0)
    layers = Differentiable(model().programs.programs["key"])
    with torch.no_grad():
        made = layers.run(torch.from_numpy(values[None].astype(np.float32)), [ROW])[0].numpy()
    apart = np.abs(made - patches)
    assert patches.std() > 100 and apart.max() <= 1 and (apart > 0).mean() < 0.001


def test_a_step_against_the_gradient_lowers_the_error_as_it_says() -> None:
    """Many latents move by half a step: what the rounding in the layers changes is little beside that."""
    (_, values), (target, _) = coded(1), coded(2)

    def error(values: np.ndarray) -> float:
        layers = Differentiable(model().programs.programs["key"])
        with torch.no_grad():
            made = layers.run(torch.from_numpy(values[None].astype(np.float32)), [ROW])[0].numpy()
        return float((weights() * (made - target.astype(np.float64)) ** 2).sum())

    found = model().gradient("key").at(values, target, ROW)
    by = np.where(np.abs(found) > np.quantile(np.abs(found), 0.99), -8 * np.sign(found), 0)
    said = float((found * by).sum() + 0.5 * (model().gradient("key").curvature(ROW) * by**2).sum())
    came = error(values + by) - error(values)
    assert said < 0 and 0.7 < came / said < 1.4


def test_strips_have_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, values), (target, _) = coded(1, (64, 16)), coded(2, (64, 16))
    whole = model().gradient("key").at(values, target, ROW)
    strips = []
    strip = Gradient._strip

    def counted(self: Gradient, values: np.ndarray, *more: Any) -> np.ndarray:
        strips.append(len(values))
        return strip(self, values, *more)

    monkeypatch.setattr(Gradient, "_strip", counted)
    monkeypatch.setattr(gradient, "STRIP", 0)
    monkeypatch.setattr(gradient, "ROWS", 8)
    found = model().gradient("key").at(values, target, ROW)
    assert strips == [12, 16, 16, 12]
    assert 0 < (found - whole).std() < 0.03 * whole.std()


def test_the_curvature_is_that_of_the_rows_gain() -> None:
    """A step of a finer row is smaller in samples; λ rises by 2 every 8 rows, so that a step falls by 2 every 16."""
    found = model().gradient("key")
    coarse, fine = found.curvature(32), found.curvature(64)
    assert (coarse > 0).all() and (fine > 0).all() and 8 < coarse.mean() / fine.mean() < 32
    assert np.array_equal(Gradient(model().programs, "key").curvature(64), fine)


def test_a_program_with_other_layers_is_refused() -> None:
    tensors = [p.Tensor(kind, kind, 4, channels) for kind, channels in ((p.S16, 4), (p.S16, 1), (p.U7, 1), (p.S16, 4))]
    layers = [
        p.Layer(p.CODE, 0, [p.Source(1), p.Source(2)], outputs=4),
        p.Layer(p.DEPTHWISE, 3, [p.Source(0)], outputs=4),
    ]
    with pytest.raises(UnsupportedError, match="a layer depthwise point behind latents"):
        p.behind_latents(p.Program(tensors, layers, [1, 2], [3]))
