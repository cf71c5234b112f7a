"""Refined key frames: cheaper in bits and error together, the same on any number of threads, decoded as any other."""

from __future__ import annotations

import numpy as np
import pytest

from lvc.codec.frames import FrameDecoder, FrameEncoder
from lvc.codec.settings import Effort
from lvc.codec.shown import padded
from lvc.engine import motion
from lvc.engine.coder import Coder
from lvc.engine.rans_reference import ONE, Writer
from lvc.engine.reference import TableSymbols
from tests.helpers.small_models import model, planes

HEIGHT, WIDTH = 96, 128


def source(seed: int) -> tuple[np.ndarray, np.ndarray]:
    y, uv = planes(HEIGHT, WIDTH, seed=seed)
    noise = np.random.default_rng(seed).normal(0, 6, y.shape)
    return padded(np.clip(y + noise, 0, 255).astype(np.uint8), uv[0], uv[1], 8)


@pytest.mark.parametrize("quality", [16, 44, 76])
def test_what_is_refined_costs_less(quality: int) -> None:
    """Bits and error, in the measure by which all decisions are made."""
    wins = []
    for seed in range(3):
        wanted = source(seed)
        encoder = FrameEncoder(model(), HEIGHT, WIDTH)
        costs = []
        for rounds in (0, 1, 4):
            coder = Coder()
            coded = encoder.key(0, wanted, quality, coder, rounds)
            costs.append(coder.bits() + encoder.missed(wanted, coded))
        assert costs[2] < costs[0] and costs[1] < costs[0], (seed, costs)
        wins.append(1 - costs[2] / costs[0])
    assert np.mean(wins) > 0.005


def test_predicted_frames_cost_less_too() -> None:
    """Of the places that an effort names."""
    before, wanted = source(1), source(2)
    encoder = FrameEncoder(model(), HEIGHT, WIDTH)
    key = encoder.key(0, before, 44, Coder())

    def cost(effort: Effort) -> float:
        coded, latents = encoder.predicted(4, (key, None), 1, 44, wanted, motion.Stream(), effort)
        return latents.bits() + encoder.missed(wanted, coded)

    plain = cost(Effort())
    assert cost(Effort(1, 8, 2)) < 0.995 * plain and cost(Effort(1, 8, 1)) == plain


def test_it_is_decoded_as_any_other() -> None:
    wanted = source(1)
    coder = Coder()
    coded = FrameEncoder(model(), HEIGHT, WIDTH).key(0, wanted, 44, coder, 2)
    plain = Coder()
    FrameEncoder(model(), HEIGHT, WIDTH).key(0, wanted, 44, plain)
    data = coder.finish()
    assert data != plain.finish()
    again = FrameDecoder(model(), HEIGHT, WIDTH).key(0, 44, Coder(data))
    assert all(np.array_equal(a, b) for a, b in zip(coded.planes, again.planes, strict=True))


def test_the_price_of_a_symbol_is_what_it_takes() -> None:
    """Of every table: small symbols, the largest in reach, and beyond."""
    tables = model().programs.tables
    assert tables is not None
    bits = model().symbol_bits
    assert bits.shape == (64, 4095) and bits[0, 2047] == 0
    for table in range(1, 64):
        reach = int(tables.reach[table])
        for symbol in {0, 1, -1, reach, -reach - 1, reach + 4, reach + 5, -reach - 13, 1500}:
            writer = Writer()
            TableSymbols(writer, tables).table(table, symbol)
            taken = sum(np.log2(ONE / frequency) for _, frequency in writer.pieces)
            assert taken == pytest.approx(bits[table, 2047 + symbol], abs=1e-3), (table, symbol)
