"""The integer networks equal a numpy int64 implementation, whatever threads, batches and instruction sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rans_reference import IntegerNet

from lvc.models.config import ModelConfig
from lvc.models.integer import MAX_BIAS, MAX_FAN_IN, IntegerConv, ScaleNet, clamp_ste, round_ste
from lvc.models.network import FrameCodec

DEFAULT = ModelConfig()
SIZES = {
    "small": (39, 16, 32, (9, 11)),
    "default": (DEFAULT.latent + DEFAULT.hyper + 3, DEFAULT.scale_hidden, DEFAULT.latent, (30, 54)),
    "second pass": (2 * DEFAULT.latent + DEFAULT.hyper + 3, DEFAULT.scale_hidden, DEFAULT.latent, (17, 23)),
    "one block": (39, 16, 32, (1, 1)),
    "row": (39, 64, 32, (1, 40)),
}


def net(inputs: int, hidden: int, outputs: int, seed: int = 0, spread: float = 2.0) -> ScaleNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = ScaleNet(inputs, hidden, outputs)
        for layer in (made.first, made.second, made.last):
            torch.nn.init.normal_(layer.weight, std=spread * layer.weight.shape[1] ** -0.5)
            torch.nn.init.normal_(layer.bias, std=1.0)
    return made.requires_grad_(False)


def frozen(made: ScaleNet) -> ScaleNet:
    for layer in (made.first, made.second, made.last):
        layer.freeze()
    return made


def in_numpy(made: ScaleNet, x: np.ndarray) -> np.ndarray:
    return IntegerNet({f"n.{k}": v.numpy() for k, v in made.state_dict().items()}, "n")(x.astype(np.int64))


def inputs(channels: int, size: tuple[int, int], batch: int = 3, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    x = rng.integers(-127, 128, (batch, channels, *size))
    x[-1] = rng.choice([-127, 0, 127], x[-1].shape)
    return torch.from_numpy(x.astype(np.float32))


@pytest.mark.parametrize("size", SIZES)
def test_indices_are_those_of_integer_arithmetic(size: str) -> None:
    a, b, c, grid = SIZES[size]
    made, x = net(a, b, c), inputs(a, grid)
    expected = np.stack([in_numpy(made, one.numpy()) for one in x])
    assert len(np.unique(expected)) > 10
    frozen(made)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert np.array_equal(made(x).numpy(), expected)
        for n in range(len(x)):
            assert np.array_equal(made(x[n : n + 1]).numpy()[0], expected[n])
            spread = x[n : n + 1].contiguous(memory_format=torch.channels_last)
            assert np.array_equal(made(spread).numpy()[0], expected[n])


def test_the_largest_sums_are_exact() -> None:
    """All weights, biases and activations at their limits: sums come within 2 % of 2**24."""
    hidden = MAX_FAN_IN // 9
    made = ScaleNet(MAX_FAN_IN, hidden, 8).requires_grad_(False)
    rng = np.random.default_rng(0)
    for layer in (made.first, made.second, made.last):
        sign = np.where(rng.random(layer.weight.shape[0]) < 0.5, -1.0, 1.0)
        layer.weight.copy_(torch.from_numpy(np.broadcast_to(sign[:, None] * 9.0, layer.weight.shape).copy()))
        layer.weight[:, ::2] -= torch.from_numpy(rng.integers(0, 2, layer.weight[:, ::2].shape) / 64)
        layer.bias.copy_(torch.from_numpy(sign * 5000.0))
    x = torch.full((1, MAX_FAN_IN, 5, 6), 127.0)
    x[:, ::7, 1] = -126
    w, _ = frozen(made).first.integers()
    assert float(w.abs().max()) == 127
    sums = made.first(x) * 64
    assert float(sums.abs().max()) > 0.98 * 2**24
    weights = made.first.integers()
    exact = np.einsum("oc,chw->ohw", weights[0].numpy().astype(np.int64), x[0].numpy().astype(np.int64))
    assert np.array_equal(sums[0].numpy().astype(np.int64), exact + weights[1].numpy().astype(np.int64)[:, None, None])
    assert np.array_equal(made(x)[0].numpy(), in_numpy(made, x[0].numpy()))


def test_what_could_not_be_exact_is_refused() -> None:
    assert MAX_FAN_IN * 127 * 127 + MAX_BIAS + 64 * 127 < 2**24
    IntegerConv(MAX_FAN_IN, 1)
    for channels, kernel in ((MAX_FAN_IN + 1, 1), (MAX_FAN_IN // 9 + 1, 3)):
        with pytest.raises(ValueError, match="exact"):
            IntegerConv(channels, 1, kernel)


def test_freezing_rounds_halves_up_and_clamps() -> None:
    layer = IntegerConv(8, 1).requires_grad_(False)
    layer.weight.copy_(torch.tensor([[0.5, -0.5, 1.5, -1.5, 127.4, -400.0, 1e9, 126.5]]) / 64)
    layer.bias.fill_(1e9)
    layer.freeze()
    w, b = layer.integers()
    assert w.tolist() == [[1, 0, 2, -1, 127, -127, 127, 127]]
    assert b.tolist() == [MAX_BIAS]


def test_training_sees_the_numbers_that_decoding_uses() -> None:
    made, x = net(39, 16, 32, spread=1.0), inputs(39, (5, 6))
    before = made(x)
    assert torch.equal(before, frozen(made)(x))


def test_rounding_passes_gradients() -> None:
    x = torch.tensor([0.4, 0.5, -0.5, 2.5, -3.6], requires_grad=True)
    y = clamp_ste(round_ste(x), -2, 2)
    y.sum().backward()
    assert y.tolist() == [0, 1, 0, 2, -2] and x.grad is not None and x.grad.tolist() == [1] * 5


def test_inputs_are_integers_in_range_in_the_order_of_the_format() -> None:
    z = torch.tensor([[[[31.0, -31.0]]]]).expand(1, 2, 1, 2)
    latent = torch.full((1, 3, 2, 7), -32767.0)
    latent[:, 1] = 4
    skip = torch.ones(1, 1, 2, 7)
    for code in (0, 78, 79, 5000, 10000):
        got = FrameCodec.scale_inputs(z, latent, skip, 0 * skip, torch.tensor([float(code)]))
        assert got.shape == (1, 2 + 3 + 3, 2, 7) and got.dtype == torch.float32
        assert got[0, :2, 0].tolist() == [[124.0] * 4 + [-124.0] * 3] * 2
        assert got[0, 2:5, 0, 0].tolist() == [120.0, 32.0, 120.0]
        assert got[0, 5:, 0, 0].tolist() == [64.0, 0.0, float(code // 79)]
        assert float(got.abs().max()) <= 127


def test_the_levels_input_is_the_same_by_division_and_by_reciprocal() -> None:
    """A GPU may multiply by 1/79 where the CPU divides."""
    code = np.arange(10001, dtype=np.float32)
    assert np.array_equal(np.floor(code / np.float32(79)), np.floor(code * (np.float32(1) / np.float32(79))))
    assert np.array_equal(np.floor(code / np.float32(79)), np.arange(10001) // 79)
