"""Flags and motion: round trips over odd grids, extremes and long sequences, the passes' geometry, and damage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import rans_reference as reference

from lvc.entropy.coder import Coding, Decoder, Encoder
from lvc.entropy.fields import FlagCoder, MotionCoder
from lvc.errors import CorruptError, UsageError

GRIDS = [(1, 1), (1, 2), (2, 1), (1, 9), (13, 1), (2, 3), (3, 5), (8, 8), (9, 17), (16, 7)]


def flag_sequence(rng: np.random.Generator, grid: tuple[int, int], count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(flags, among) per frame: random, all 0, all 1, lumps, repeated."""
    out: list[tuple[np.ndarray, np.ndarray]] = []
    for n in range(count):
        flags = (rng.random(grid) < [0.0, 1.0, 0.5, 0.05, 0.95][n % 5]).astype(np.uint8)
        if out and n % 3 == 0:
            flags = out[-1][0].copy()
        among = np.ones(grid, np.uint8) if n % 4 else (rng.random(grid) < 0.5).astype(np.uint8)
        out.append((flags * among, among))
    return out


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_flags_come_back_and_match_the_reference(grid: tuple[int, int]) -> None:
    frames = flag_sequence(np.random.default_rng(sum(grid)), grid, 15)
    encoder, coder = Encoder(), FlagCoder((8, 8))
    before = np.zeros(grid, np.uint8)
    for n, (flags, among) in enumerate(frames):
        out = coder.code(Coding(encoder), flags[None], before, among if n % 4 == 0 else None)
        assert np.array_equal(out, flags) and out.dtype == np.uint8
        before = flags
    data = encoder.finish()
    decoder, coder, before = Decoder(data), FlagCoder((8, 8)), np.zeros(grid, np.uint8)
    stream, rows, plain = reference.Stream(data), reference.GopState().skip_rows, before
    for n, (flags, among) in enumerate(frames):
        before = coder.code(Coding(decoder), None, before, among if n % 4 == 0 else None)
        assert np.array_equal(before, flags)
        plain = reference.flags(stream, rows, plain, among)
        assert np.array_equal(plain, flags)
    decoder.finish()
    stream.finish()


def flag_bytes(flags: np.ndarray, count: int) -> int:
    encoder, coder, before = Encoder(), FlagCoder((8, 8)), np.zeros_like(flags)
    for _ in range(count):
        before = coder.code(Coding(encoder), flags[None], before, None)
    return len(encoder.finish())


def test_steady_flags_cost_next_to_nothing() -> None:
    """Two frames cost a bit a flag (counts start even, the frame before changes); then all is learned."""
    ones = np.ones((30, 54), np.uint8)
    assert flag_bytes(ones, 1) <= 1620 / 8 + 8
    assert flag_bytes(ones, 60) - flag_bytes(ones, 2) < 32
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


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_motion_comes_back(grid: tuple[int, int]) -> None:
    made = fields(np.random.default_rng(grid[0] * 50 + grid[1]), *grid)
    order = [*made, *reversed(made), "zero", "zero", "constant", "constant", "random"]
    encoder, coder = Encoder(), MotionCoder()
    before = np.zeros((2, 2 * grid[0], 2 * grid[1]), np.int16)
    for name in order:
        out = coder.code(Coding(encoder), made[name], before)
        assert np.array_equal(out, made[name]) and out.dtype == np.int16
        before = made[name]
    data = encoder.finish()
    decoder, coder, before = Decoder(data), MotionCoder(), np.zeros_like(before)
    for name in order:
        before = coder.code(Coding(decoder), None, before)
        assert np.array_equal(before, made[name]), name
    decoder.finish()


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (6, 1), (3, 5), (9, 11)], ids=str)
def test_motion_is_what_the_reference_reads(grid: tuple[int, int]) -> None:
    made = fields(np.random.default_rng(grid[0] * 50 + grid[1] + 1), *grid)
    encoder, coder = Encoder(), MotionCoder()
    before = np.zeros((2, 2 * grid[0], 2 * grid[1]), np.int16)
    for field in made.values():
        before = coder.code(Coding(encoder), field, before)
    stream, state, last = reference.Stream(encoder.finish()), reference.GopState(), np.zeros(before.shape, np.int64)
    for name, field in made.items():
        last = reference.motion(stream, state, last)
        assert np.array_equal(last, field), name
    stream.finish()


def test_long_sequence_stays_in_step() -> None:
    rng = np.random.default_rng(2)
    field = np.zeros((2, 12, 20), np.int16)
    sent, encoder, coder, before = [], Encoder(), MotionCoder(), field
    for n in range(80):
        field = field.copy()
        if n % 10 == 0:
            field[:] = rng.integers(-30, 31, (2, 1, 1))
        field[:, rng.integers(12), rng.integers(20)] += rng.integers(-4, 5, 2).astype(np.int16)
        before = coder.code(Coding(encoder), field, before)
        sent.append(field)
    decoder, coder, before = Decoder(encoder.finish()), MotionCoder(), np.zeros_like(field)
    for field in sent:
        before = coder.code(Coding(decoder), None, before)
        assert np.array_equal(before, field)
    decoder.finish()


def bits_per_field(field: np.ndarray, count: int = 30) -> float:
    encoder, coder, before = Encoder(), MotionCoder(), np.zeros_like(field)
    for _ in range(count):
        before = coder.code(Coding(encoder), field, before)
    return len(encoder.finish()) * 8 / count


def test_still_and_steady_motion_are_cheap() -> None:
    assert bits_per_field(np.zeros((2, 60, 108), np.int16)) < 3
    assert bits_per_field(np.full((2, 60, 108), 9, np.int16)) < 90
    assert bits_per_field(np.random.default_rng(0).integers(-9, 9, (2, 60, 108)).astype(np.int16)) > 20_000


def test_differences_beyond_the_last_class_are_refused() -> None:
    """8193 is the largest difference that has a code; searched vectors stay within 2048."""
    for size, fits in ((8193, True), (8194, False)):
        field = np.full((2, 2, 2), size, np.int16)
        encoder = Encoder()
        if fits:
            MotionCoder().code(Coding(encoder), field, np.zeros_like(field))
            assert np.array_equal(
                MotionCoder().code(Coding(Decoder(encoder.finish())), None, np.zeros_like(field)), field
            )
        else:
            with pytest.raises(UsageError):
                MotionCoder().code(Coding(encoder), field, np.zeros_like(field))


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
        decoder, coder = Decoder(rng.bytes(4 * (n % 40)) + b"\1\0\0\1"), MotionCoder()
        flagger, before = FlagCoder((8, 8)), np.zeros((2, 6, 10), np.int16)
        skip = np.zeros((3, 5), np.uint8)
        try:
            for _ in range(6):
                skip = flagger.code(Coding(decoder), None, skip, None)
                before = coder.code(Coding(decoder), None, before)
                assert before.dtype == np.int16 and before.shape == (2, 6, 10)
                assert skip.max(initial=0) <= 1
        except CorruptError:
            pass
