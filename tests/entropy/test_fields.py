"""Flags and motion: round trips over odd grids, extremes and long sequences, the passes' geometry, and damage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import rans_reference as reference

from lvc.entropy.coder import Coding, Decoder, Encoder
from lvc.entropy.fields import MotionCoder
from lvc.entropy.flags import FlagCoder
from lvc.errors import CorruptError, UsageError

GRIDS = [(1, 1), (1, 2), (2, 1), (1, 9), (13, 1), (2, 3), (3, 5), (8, 8), (9, 17), (16, 7)]


Flags = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def flag_sequence(rng: np.random.Generator, grid: tuple[int, int], count: int) -> list[Flags]:
    """(skip, copy, symbols, changed) per frame: random, all 0, all 1, lumps, repeated."""
    out: list[Flags] = []
    for n in range(count):
        skip = (rng.random(grid) < [0.0, 1.0, 0.5, 0.05, 0.95][n % 5]).astype(np.uint8)
        if out and n % 3 == 0:
            skip = out[-1][0].copy()
        copy = skip * (rng.random(grid) < [0.5, 0.0, 1.0][n % 3]).astype(np.uint8)
        latent = (rng.random((40, *grid)) < [0.0, 0.1, 1.0][n % 3]).astype(np.int16) * (1 - skip)
        out.append((skip, copy, latent, rng.integers(0, 2, grid)))
    return out


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_flags_come_back_and_match_the_reference(grid: tuple[int, int]) -> None:
    frames = flag_sequence(np.random.default_rng(sum(grid)), grid, 15)
    encoder, coder = Encoder(), FlagCoder(*grid)
    for skip, copy, latent, changed in frames:
        found = coder.code(Coding(encoder), skip[None], copy[None])
        coder.learn(latent, changed)
        assert all(np.array_equal(a, b) and a.dtype == np.uint8 for a, b in zip(found, (skip, copy), strict=True))
    data = encoder.finish()
    decoder, coder = Decoder(data), FlagCoder(*grid)
    stream, plain = reference.Stream(data), reference.Flags(*grid)
    for skip, copy, latent, changed in frames:
        for found in (coder.code(Coding(decoder), None, None), plain.frame(stream)):
            assert np.array_equal(found[0], skip) and np.array_equal(found[1], copy)
        coder.learn(latent, changed)
        plain.after(latent, changed)
    decoder.finish()
    stream.finish()


def flag_bytes(flags: np.ndarray, count: int) -> int:
    encoder, coder = Encoder(), FlagCoder(*flags.shape)
    for _ in range(count):
        coder.code(Coding(encoder), flags[None], flags[None])
    return len(encoder.finish())


def test_steady_flags_cost_next_to_nothing() -> None:
    ones = np.ones((30, 54), np.uint8)
    assert flag_bytes(ones, 1) <= 1620 / 8 + 8
    assert flag_bytes(ones, 60) - flag_bytes(ones, 2) < 200
    noise = (np.random.default_rng(0).random((30, 54)) < 0.5).astype(np.uint8)
    assert (flag_bytes(noise, 60) - flag_bytes(noise, 20)) / 40 < 0.3 * 1620 / 8


# --- motion ---


def fields(rng: np.random.Generator, rows: int, cols: int) -> dict[str, np.ndarray]:
    """Fields [2, 2·rows, 2·cols] of every kind that a searcher may give."""
    shape = (2, 2 * rows, 2 * cols)
    whole = rng.integers(-60, 61, (2, rows, cols)).repeat(2, 1).repeat(2, 2)
    few = np.zeros(shape, np.int64)
    few[:, rng.integers(2 * rows), rng.integers(2 * cols)] = rng.integers(-3, 4, 2)
    split = whole.copy()
    split[:, 1::2, ::2] += rng.integers(-2, 3, (2, rows, cols))
    out = {
        "zero": np.zeros(shape, np.int64),
        "constant": np.broadcast_to(np.array([7, -5])[:, None, None], shape),
        "random": rng.integers(-40, 41, shape),
        "small": rng.integers(-2, 3, shape),
        "whole": whole,
        "split": split,
        "few": few,
        "extreme": rng.choice([-2048, 2047, 2048, 0], shape),
        "far": rng.integers(-4096, 4096, shape),
        "edges": np.where(np.indices(shape).sum(0) % 2, 4096, -4096),
    }
    return {k: v.astype(np.int16) for k, v in out.items()}


def some_flags(rng: np.random.Generator, grid: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    skip = (rng.random(grid) < 0.6).astype(np.uint8)
    return skip, skip * (rng.random(grid) < 0.5).astype(np.uint8)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_motion_comes_back(grid: tuple[int, int]) -> None:
    made = fields(np.random.default_rng(grid[0] * 50 + grid[1]), *grid)
    order = [*made, *reversed(made), "zero", "zero", "constant", "constant", "random"]
    flags = {name: some_flags(np.random.default_rng(n), grid) for n, name in enumerate(made)}
    encoder, coder = Encoder(), MotionCoder(*grid)
    for name in order:
        out = coder.code(Coding(encoder), made[name], *flags[name])
        assert np.array_equal(out, made[name]) and out.dtype == np.int16
    data = encoder.finish()
    decoder, coder = Decoder(data), MotionCoder(*grid)
    for name in order:
        assert np.array_equal(coder.code(Coding(decoder), None, *flags[name]), made[name]), name
    decoder.finish()


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (6, 1), (3, 5), (9, 11)], ids=str)
def test_motion_is_what_the_reference_reads(grid: tuple[int, int]) -> None:
    made = fields(np.random.default_rng(grid[0] * 50 + grid[1] + 1), *grid)
    flags = {name: some_flags(np.random.default_rng(n), grid) for n, name in enumerate(made)}
    encoder, coder = Encoder(), MotionCoder(*grid)
    changed = []
    for name, field in made.items():
        coder.code(Coding(encoder), field, *flags[name])
        changed.append(coder.changed)
    stream, plain = reference.Stream(encoder.finish()), reference.Motion(*grid)
    for number, (name, field) in enumerate(made.items()):
        assert np.array_equal(plain.frame(stream, *flags[name]), field), name
        assert np.array_equal(plain.changed, changed[number])
    stream.finish()


def none(grid: tuple[int, int]) -> np.ndarray:
    return np.zeros(grid, np.uint8)


def test_long_sequence_stays_in_step() -> None:
    rng, flags = np.random.default_rng(2), none((6, 10))
    field = np.zeros((2, 12, 20), np.int16)
    sent, encoder, coder = [], Encoder(), MotionCoder(6, 10)
    for n in range(80):
        field = field.copy()
        if n % 10 == 0:
            field[:] = rng.integers(-30, 31, (2, 1, 1))
        field[:, rng.integers(12), rng.integers(20)] += rng.integers(-4, 5, 2).astype(np.int16)
        coder.code(Coding(encoder), field, flags, flags)
        sent.append(field)
    decoder, coder = Decoder(encoder.finish()), MotionCoder(6, 10)
    for field in sent:
        assert np.array_equal(coder.code(Coding(decoder), None, flags, flags), field)
    decoder.finish()


def bits_per_field(fields: list[np.ndarray]) -> float:
    grid = fields[0].shape[1] // 2, fields[0].shape[2] // 2
    encoder, coder = Encoder(), MotionCoder(*grid)
    for field in fields:
        coder.code(Coding(encoder), field, none(grid), none(grid))
    return len(encoder.finish()) * 8 / len(fields)


def test_still_and_steady_motion_are_cheap() -> None:
    assert bits_per_field([np.zeros((2, 60, 108), np.int16)] * 30) < 3
    assert bits_per_field([np.full((2, 60, 108), 9, np.int16)] * 30) < 90
    assert bits_per_field([np.random.default_rng(0).integers(-9, 9, (2, 60, 108)).astype(np.int16)] * 30) > 9_000


def test_a_block_that_moves_as_one_neighbour_costs_little() -> None:
    """Halves that move apart: the border's blocks take a neighbour's vector, whatever the median says."""
    rng = np.random.default_rng(1)
    halves, noisy = [], []
    for _ in range(20):
        vectors = rng.integers(-200, 201, (2, 2))
        border = rng.integers(20, 40, 30).repeat(2)
        field = np.where(np.arange(108) // 2 < border[:, None], vectors[0][:, None, None], vectors[1][:, None, None])
        halves.append(field.astype(np.int16))
        noise = rng.integers(-200, 201, (2, 30, 1)).repeat(2, 1)
        noisy.append(np.where(np.arange(108) // 2 == border[:, None], noise, field).astype(np.int16))
    assert bits_per_field(halves) < 0.75 * bits_per_field(noisy)


def test_differences_beyond_the_last_class_are_refused() -> None:
    """8193 is the largest difference that has a code; searched vectors stay within 2048."""
    flags = none((1, 1))
    for size, fits in ((8193, True), (8194, False)):
        field = np.full((2, 2, 2), size, np.int16)
        encoder = Encoder()
        if fits:
            MotionCoder(1, 1).code(Coding(encoder), field, flags, flags)
            found = MotionCoder(1, 1).code(Coding(Decoder(encoder.finish())), None, flags, flags)
            assert np.array_equal(found, field)
        else:
            with pytest.raises(UsageError):
                MotionCoder(1, 1).code(Coding(encoder), field, flags, flags)


@pytest.mark.parametrize("grid", [*GRIDS, (27, 31)], ids=str)
def test_passes_cover_every_block_once_and_look_back_only(grid: tuple[int, int]) -> None:
    seen: dict[tuple[int, int], int] = {}
    for number, (ys, xs, near) in enumerate(MotionCoder.passes(*grid)):
        assert len(near) in (0, 4) and bool(near) == (number > 0)
        here = set(zip(ys.tolist(), xs.tolist(), strict=True))
        assert len(here) == len(ys) and not here & set(seen)
        for ny, nx in near:
            for place, other in zip(
                zip(ys.tolist(), xs.tolist(), strict=True), zip(ny.tolist(), nx.tolist(), strict=True), strict=True
            ):
                # a block whose neighbour and opposite neighbour are both outside is its own neighbour: (0,0)
                assert other in seen or other == place
        seen.update(dict.fromkeys(here, number))
    assert set(seen) == set(itertools.product(range(grid[0]), range(grid[1])))


def test_random_bytes_give_fields_or_corrupt() -> None:
    rng = np.random.default_rng(11)
    for n in range(120):
        decoder, coder, flagger = Decoder(rng.bytes(4 * (n % 40)) + b"\1\0\0\1"), MotionCoder(3, 5), FlagCoder(3, 5)
        try:
            for _ in range(6):
                skip, copy = flagger.code(Coding(decoder), None, None)
                field = coder.code(Coding(decoder), None, skip, copy)
                flagger.learn(np.zeros((4, 3, 5), np.int16), coder.changed)
                assert field.dtype == np.int16 and field.shape == (2, 6, 10)
                assert skip.max(initial=0) <= 1 and not copy[skip == 0].any()
        except CorruptError:
            pass
