"""Motion decided on the reconstruction."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.codec.compensate import LUMA_FILTERS, compensate, interpolated, pad
from lvc.codec.motion_choice import MotionChoice
from lvc.codec.motion_decision import _MARGIN, MotionDecision, _Blocks
from lvc.codec.native import library

pytestmark = pytest.mark.usefixtures("arithmetic")


def _picture(seed: int = 0, height: int = 96, width: int = 128) -> np.ndarray:
    """Smooth texture uint8 [H,W]."""
    noise = np.random.default_rng(seed).normal(size=(height + 8, width + 8))
    for axis in range(2):
        noise = np.stack([np.roll(noise, k, axis) for k in range(-4, 5)]).sum(0)
    return np.asarray(np.clip(128 + 40 * noise[4:-4, 4:-4] / noise.std(), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [8, 16])
def test_windows_are_what_compensation_takes(size: int) -> None:
    rng = np.random.default_rng(1)
    reference = rng.integers(0, 256, (96, 128), dtype=np.uint8)
    blocks, n = _Blocks(reference, reference, 1.0), 500
    top, left = rng.integers(0, 96 // size, n) * size, rng.integers(0, 128 // size, n) * size
    vectors = rng.integers(-900, 900, (2, n))
    padded = pad(reference[None], _MARGIN)
    wanted = interpolated(padded, 0, top + _MARGIN, left + _MARGIN, vectors, size, LUMA_FILTERS)
    found = blocks._windows(top, left, vectors, size)
    np.testing.assert_array_equal(found, wanted.reshape(size * size, n).t().numpy())


def test_errors_of_quarters_sum_to_the_block() -> None:
    blocks = _Blocks(_picture(2), _picture(3), 0.5)
    ys, xs, vector = np.array([0, 3, 5]), np.array([1, 7, 0]), np.array([[5, -9, 0], [2, 30, 0]])
    quads = np.broadcast_to(vector, (4, 2, 3))
    np.testing.assert_allclose(blocks.split_errors(ys, xs, quads), blocks.errors(ys, xs, vector), rtol=1e-5)


def test_a_shift_is_found_from_a_poor_search() -> None:
    """The search is off by half a sample; steps find the shift, and all blocks agree."""
    reference = _picture()
    shift = np.broadcast_to(np.array([6, -5], np.int16)[:, None, None], (2, 12, 16))
    frame, _ = compensate(reference[None], np.zeros((1, 2, 48, 64), np.uint8), shift[None])
    decided = MotionDecision(96, 128).decide(reference, frame[0], shift + np.int16(2), 12.0)
    assert decided.dtype == np.int16
    inner = decided[:, 2:-2, 2:-2]
    np.testing.assert_array_equal(inner, np.broadcast_to(shift[:, 2:-2, 2:-2], inner.shape))


def test_a_vector_that_is_not_worth_its_bits_is_not_taken() -> None:
    """At a low level the same search is turned down where nothing is gained."""
    reference = np.full((64, 64), 90, np.uint8)
    reference[20:40, 20:40] += 2
    found = np.random.default_rng(4).integers(-40, 40, (2, 8, 8)).astype(np.int16)
    assert not MotionDecision(64, 64).decide(reference, reference, found, 7.0).any()


def test_the_last_field_is_a_candidate() -> None:
    reference = _picture(5)
    shift = np.broadcast_to(np.array([-12, 8], np.int16)[:, None, None], (2, 12, 16))
    frame, _ = compensate(reference[None], np.zeros((1, 2, 48, 64), np.uint8), shift[None])
    decision, nothing = MotionDecision(96, 128), np.zeros((2, 12, 16), np.int16)
    decision.coded(shift)
    np.testing.assert_array_equal(decision.decide(reference, frame[0], nothing, 12.0), shift)
    decision.coded(nothing)
    assert (decision.decide(reference, frame[0], nothing, 12.0) != shift).any()


@pytest.mark.parametrize("chosen", [False, True], ids=["decided", "chosen"])
def test_both_arithmetics_take_the_same_motion(chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit, over frames whose fields follow one another, with splits, far vectors and every phase."""
    fields: list[list[np.ndarray]] = []
    errors: list[list[float]] = []
    for here in (library(), None):
        monkeypatch.setattr("lvc.codec.motion_decision.library", lambda here=here: here)
        monkeypatch.setattr("lvc.codec.motion_choice.library", lambda here=here: here)
        decision, choice, rng = MotionDecision(96, 128), MotionChoice(96, 128), np.random.default_rng(7)
        fields.append([])
        errors.append([])
        for number in range(6):
            frame = _picture(number % 2 + 10)
            rolled = np.concatenate([np.roll(frame[:40], number, 1), np.roll(frame[40:], -number, 0)])
            reference = np.clip(rolled + rng.integers(-3, 4, frame.shape), 0, 255).astype(np.uint8)
            found = rng.integers(-3, 4, (2, 12, 16)).astype(np.int16)
            found[0, :5] += 4 * number
            found[1, 5:] -= 4 * number
            found[:, 0, 0] = 4000, -4000
            if chosen:
                field, error = choice.choose(reference, frame, found, 2.0 + 3 * number)
                fields[-1].append(field)
                errors[-1].append(error)
            else:
                fields[-1].append(decision.decide(reference, frame, found, 8.0 + number))
                decision.coded(fields[-1][-1])
    assert sum(len(np.unique(f.reshape(2, -1), axis=1).T) > 5 for f in fields[0]) > 2
    assert any((f[:, ::2, ::2] != f[:, 1::2, 1::2]).any() for f in fields[0])
    assert errors[0] == errors[1]
    for one, other in zip(*fields, strict=True):
        np.testing.assert_array_equal(one, other)
