"""The compiled coder writes what the one in Python writes, and reads damaged streams without harm."""

from __future__ import annotations

import random

import numpy as np
import pytest

from lvc.engine import rans, rans_reference
from lvc.errors import CorruptError, UsageError

TABLES = [[65536], [1, 65535], [65535, 1], [65536 // 64] * 64, [1] * 2000 + [65536 - 2000], [1] * 4095 + [61441]]
CONTEXTS = 4


def random_script(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = random.Random(seed)
    ops, values = [], []
    for _ in range(count):
        kind = rng.randrange(4)
        if kind == rans.FLAG:
            argument = rng.randrange(CONTEXTS)
            value = int(rng.random() < (0.5, 0.01, 0.999, 0.1)[argument])
        elif kind == rans.RAW:
            argument = rng.randrange(17)
            value = rng.randrange(1 << argument)
        elif kind == rans.SYMBOL:
            argument = rng.randrange(len(TABLES))
            value = rng.choices(range(len(TABLES[argument])), TABLES[argument])[0]
        else:
            argument, value = rng.randrange(17), rng.randrange(1 << rng.randrange(21))
        ops.append((kind, argument))
        values.append(value)
    return np.array(ops, np.int32), np.array(values, np.int32)


def by_reference(coder: rans_reference.Coder, ops: np.ndarray, values: np.ndarray) -> list[int]:
    contexts = [rans_reference.Context() for _ in range(CONTEXTS)]
    out = []
    for (kind, argument), value in zip(ops.tolist(), values.tolist(), strict=True):
        if kind == rans.FLAG:
            out.append(coder.bit(contexts[argument], value))
        elif kind == rans.RAW:
            out.append(coder.raw(argument, value))
        elif kind == rans.SYMBOL:
            out.append(coder.symbol(TABLES[argument], value))
        else:
            out.append(coder.golomb(argument, value))
    return out


def fresh() -> np.ndarray:
    return np.tile(np.array([32768, 32768, 0], np.uint16), (CONTEXTS, 1))


@pytest.fixture(scope="module")
def tables() -> np.ndarray:
    return rans.make_tables(TABLES)


@pytest.mark.parametrize("count", [0, 1, 7, 3000])
def test_c_and_python_write_the_same(count: int, tables: np.ndarray) -> None:
    ops, values = random_script(count, count)
    ops, values = ops.reshape(-1, 2), values.reshape(-1)
    data = rans.write(ops, values, fresh(), tables)
    writer = rans_reference.Writer()
    by_reference(writer, ops, values)
    assert writer.finish() == data
    assert rans.read(data, ops, fresh(), tables).tolist() == values.tolist()
    reader = rans_reference.Reader(data)
    assert by_reference(reader, ops, np.zeros_like(values)) == values.tolist()
    assert reader.whole()


def test_it_costs_what_the_probabilities_say(tables: np.ndarray) -> None:
    """Within 0.1 %, though the state has 32 bits and probabilities 16."""
    rng = np.random.default_rng(0)
    p = np.exp(-((np.arange(64) - 32) ** 2) / 50)
    frequencies = np.maximum(p / p.sum() * 65000, 1).astype(int)
    frequencies[32] += 65536 - frequencies.sum()
    symbols = rng.choice(64, 200000, p=frequencies / 65536).astype(np.int32)
    ops = np.tile(np.array([[rans.SYMBOL, 0]], np.int32), (len(symbols), 1))
    data = rans.write(ops, symbols, fresh(), rans.make_tables([frequencies.tolist()]))
    ideal = -np.log2(frequencies[symbols] / 65536).sum() / 8
    assert len(data) < ideal * 1.001 + 8


def test_damage_is_said_and_does_no_harm(tables: np.ndarray) -> None:
    ops, values = random_script(5, 500)
    data = rans.write(ops, values, fresh(), tables)
    rng = random.Random(1)
    for cut in (0, 1, 2, 3, 4, 5, len(data) // 2, len(data) - 2, len(data) - 1):
        with pytest.raises(CorruptError):
            rans.read(data[:cut], ops, fresh(), tables)
    with pytest.raises(CorruptError):
        rans.read(data + b"\0\0", ops, fresh(), tables)
    harmed = 0
    for _ in range(100):
        bad = bytearray(data)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        try:
            harmed += rans.read(bytes(bad), ops, fresh(), tables).tolist() != values.tolist()
        except CorruptError:
            harmed += 1
    assert harmed == 100


@pytest.mark.parametrize("bad", [[], [65535], [65536, 1], [0, 65536], [65537], [1] * 4097, [2**32 - 1, 65537]])
def test_bad_tables_are_refused(bad: list[int]) -> None:
    with pytest.raises(UsageError):
        rans.make_tables([bad])
