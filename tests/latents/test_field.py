"""Packing `field`: what goes in comes out, by this decoder and by one written from the spec."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.entropy.coder import Coding, Decoder, Encoder
from lvc.errors import CorruptError, LvcError, UnsupportedError
from lvc.latents import exact, field, tables
from lvc.latents.fit import LEAN, fit, zero_model
from lvc.latents.parameters import pack_model, unpack_model
from tests.helpers.field_reference import FieldReader, base, weights


def drawn(shape: tuple[int, int, int, int], size: float = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    base = np.cumsum(np.cumsum(rng.normal(size=shape), 2), 3)
    return np.clip(np.round(size * base / 8), -32768, 32767).astype(np.int16)


def coded(model: field.FieldModel, values: np.ndarray) -> bytes:
    encoder = Encoder()
    field.code(Coding(encoder), model, values.shape, values)
    return encoder.finish()


def decoded(model: field.FieldModel, data: bytes, shape: tuple[int, int, int, int]) -> np.ndarray:
    decoder = Decoder(data)
    values = field.code(Coding(decoder), model, shape, None)
    decoder.finish()
    return values


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 17, 5), (4, 5, 8, 9), (2, 7, 1, 20)])
@pytest.mark.parametrize("temporal", [False, True])
def test_round_trip(shape: tuple[int, int, int, int], temporal: bool) -> None:
    for size in (0.2, 5, 3000):
        values = drawn(shape, size)
        model, bits = fit([values], temporal, group=2)
        model = unpack_model(pack_model(model), shape[1])
        data = coded(model, values)
        assert (decoded(model, data, shape) == values).all()
        assert 8 * len(data) <= bits * 1.02 + 100


def test_values_nobody_expects() -> None:
    values = np.zeros((1, 2, 4, 4), np.int16)
    values[0, :, 1, 2] = -32768, 32767
    values[0, 1, 3, 3] = 64
    model = zero_model(2, False, 1)
    assert (decoded(model, coded(model, values), values.shape) == values).all()


@pytest.mark.slow
def test_the_second_decoder_agrees() -> None:
    for temporal, shared, size in ((True, LEAN, 3.0), (False, (0, 1, 2, 3, 4, 5, 6), 800.0)):
        values = drawn((2, 5, 6, 9), size, seed=3)
        values[0, 0, 0, 0] = 30000
        model, _ = fit([values], temporal, shared, group=2)
        found = FieldReader(pack_model(model), values.shape).clip(coded(model, values))
        assert (found == values).all()
    assert weights(5, -3) == tables.weights(5, -3).tolist() and weights(27, 3) == tables.weights(27, 3).tolist()


def test_context_pays() -> None:
    """Neighbours, the frame before and channels before are worth something."""
    values = drawn((4, 4, 16, 16), 6)
    values[1:] = values[0] + np.random.default_rng(1).integers(-1, 2, values[1:].shape, np.int16)
    values[:, 3] = values[:, 0] + np.random.default_rng(2).integers(-1, 2, values[:, 3].shape, np.int16)
    still, _ = fit([values], False)
    moving, _ = fit([values], True)
    alone = 8 * len(coded(still, values)) / values.size
    _, counts = np.unique(values, return_counts=True)
    entropy = -(counts / values.size * np.log2(counts / values.size)).sum()
    assert alone < 0.8 * entropy and 8 * len(coded(moving, values)) / values.size < 0.9 * alone


@pytest.mark.slow
def test_damage_is_noticed_or_harmless() -> None:
    values = drawn((2, 3, 9, 9), 5)
    model, _ = fit([values], True)
    data = bytearray(coded(model, values))
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(40):
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            wrong += bool((decoded(model, bytes(broken), values.shape) != values).any())
        except CorruptError:
            wrong += 1
    assert wrong >= 38  # what stays is noticed by the checksum of the integers
    parameters = pack_model(model)
    for _ in range(200):
        broken = bytearray(parameters)
        broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        try:
            decoded(unpack_model(bytes(broken), 3), bytes(data), values.shape)
        except LvcError:
            pass
    with pytest.raises(CorruptError):
        unpack_model(parameters[:-1], 3)
    with pytest.raises(UnsupportedError):
        unpack_model(b"\x02" + parameters[1:], 3)


@pytest.mark.parametrize("element", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("exponent", [-20, -6, 3])
def test_every_bit_pattern(element: str, exponent: int) -> None:
    """Zeros of both signs, subnormal numbers, infinities and NaN too."""
    if element == "float32":
        patterns = np.random.default_rng(0).integers(0, 1 << 32, 40000, np.uint64).astype(np.uint32)
        patterns[:6] = 0, 1 << 31, 0x7F800000, 0xFF800000, 0x7FC00001, 1
    else:
        patterns = np.arange(1 << 16).astype(np.uint16)
    planes = exact.split(patterns, element, exponent)
    assert (exact.join(planes, element, exponent) == patterns).all()
    rest = sum(p.view(np.uint8).astype(np.int64) << (8 * i) for i, p in enumerate(planes[1:]))
    encoder = Encoder()
    exact.code_rest(Coding(encoder), element, exponent, planes[0].astype(np.int64), rest)
    decoder = Decoder(encoder.finish())
    assert (exact.code_rest(Coding(decoder), element, exponent, planes[0].astype(np.int64), None) == rest).all()
    decoder.finish()
    found = exact.bases(element, exponent)
    assert all(found[k] == base(k, element, exponent) for k in (0, 1, 2, 3, 255, 257, 1000, 32766))
