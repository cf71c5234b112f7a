"""One ANS stream: bit-exact beside a pure-Python coder, adaptive tables, and damage."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvc.entropy.coder import UNIFORM, Coding, Decoder, Encoder, make_table, uniform
from lvc.errors import CorruptError, LvcError, UsageError
from tests.helpers.ans_reference import Stream, cumulative, encode

weights = st.lists(st.integers(0, 1 << 20), min_size=2, max_size=40).filter(any)


def random_parts(rng: np.random.Generator, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weights, symbols) of several tables of very different shapes."""
    parts = []
    for _ in range(count):
        n = int(rng.integers(2, 513))
        row = rng.integers(0, 1 << int(rng.integers(1, 21)), n)
        row[rng.integers(n)] += 1 << int(rng.integers(0, 31))
        drawn = rng.choice(n, int(rng.integers(1, 200)), p=row / row.sum())
        parts.append((row, np.append(drawn, rng.integers(0, n, 3))))
    return parts


def test_stream_is_bit_for_bit_that_of_the_reference_coder() -> None:
    for seed in range(12):
        parts = random_parts(np.random.default_rng(seed), 8)
        encoder, plain = Encoder(), []
        for row, symbols in parts:
            encoder.put(symbols, make_table(row))
            bounds = cumulative(row.tolist())
            plain += [(int(s), bounds) for s in symbols]
        data = encoder.finish()
        assert data == encode(plain)
        reader, decoder = Stream(data), Decoder(data)
        for row, symbols in parts:
            bounds = cumulative(row.tolist())
            assert [reader.take(bounds) for _ in symbols] == symbols.tolist()
            assert np.array_equal(decoder.get(len(symbols), make_table(row)), symbols)
        reader.finish()
        decoder.finish()


@pytest.mark.parametrize("bits", [*range(1, 14), 16])
def test_uniform_tables_are_plain_bits(bits: int) -> None:
    rng = np.random.default_rng(bits)
    symbols = np.append(rng.integers(0, 1 << bits, 50), [0, (1 << bits) - 1])
    encoder = Encoder()
    encoder.put(np.array([1, 0, 1]), make_table(np.array([3, 5])))
    encoder.put(symbols, uniform(1 << bits))
    data = encoder.finish()
    reader, decoder = Stream(data), Decoder(data)
    assert [reader.take(cumulative([3, 5])) for _ in range(3)] == [1, 0, 1]
    assert [reader.uniform(bits) for _ in symbols] == symbols.tolist()
    assert decoder.get(3, make_table(np.array([3, 5]))).tolist() == [1, 0, 1]
    assert decoder.get(len(symbols), uniform(1 << bits)).tolist() == symbols.tolist()


def found_bounds(row: np.ndarray) -> list[int]:
    """A table's bounds as constriction has them: after one symbol the state is the start of its range."""
    total = []
    for symbol in range(len(row)):
        encoder = Encoder()
        # the state is 0 before it
        encoder.put(np.array([symbol]), make_table(row))
        data = encoder.finish()
        total.append(int.from_bytes(data, "little") % (1 << 24))
    return [*total, 1 << 24]


@settings(max_examples=60, deadline=None)
@given(weights)
def test_bounds_are_one_division_one_product_and_a_cut(row: list[int]) -> None:
    found = found_bounds(np.array(row))
    assert found == cumulative(row)
    assert all(b > a for a, b in zip(found, found[1:], strict=False))
    # near what exact fractions would give, but the rounding of doubles is part of the format
    scale = Fraction((1 << 24) - len(row), sum(row))
    exact = [int(sum(row[:i]) * scale) + i for i in range(len(row))]
    assert all(abs(a - b) <= 1 for a, b in zip(found[:-1], exact, strict=True))


def test_doubles_and_exact_fractions_do_differ_somewhere() -> None:
    """Why the format speaks of doubles: the cut of a rounded product may be one less than that of the true one."""
    rng = np.random.default_rng(5)
    for _ in range(2000):
        row = rng.integers(1, 50, 8).tolist()
        exact = [sum(row[:i]) * ((1 << 24) - 8) // sum(row) + i for i in range(8)]
        if cumulative(row)[:-1] != exact:
            assert found_bounds(np.array(row)) == cumulative(row)
            return
    pytest.fail("no such table in this sample")


def test_impossible_symbols_are_refused_and_weight_zero_still_codes() -> None:
    table = make_table(np.array([0, 10, 0]))
    encoder = Encoder()
    encoder.put(np.array([0, 2, 1, 0]), table)
    assert Decoder(encoder.finish()).get(4, table).tolist() == [0, 2, 1, 0]
    for symbol in (3, -1):
        encoder = Encoder()
        encoder.put(np.array([symbol]), table)
        with pytest.raises(UsageError):
            encoder.finish()


def test_nothing_is_an_empty_stream() -> None:
    encoder = Encoder()
    encoder.put(np.zeros(0, np.int16), uniform(4))
    assert encoder.finish() == b""
    decoder = Decoder(b"")
    assert decoder.get(0, uniform(4)).size == 0
    decoder.finish()


def test_what_is_left_over_is_corrupt() -> None:
    encoder = Encoder()
    encoder.put(np.arange(100) % 4, uniform(4))
    data = encoder.finish()
    decoder = Decoder(data)
    decoder.get(99, uniform(4))
    with pytest.raises(CorruptError):
        decoder.finish()
    for wrong in (data[:-1], data + b"\0", data + b"\0\0\0\0", b"\0\0\0\0"):
        with pytest.raises(CorruptError):
            Decoder(wrong)


def test_damage_never_does_more_than_raise_corrupt() -> None:
    rng = np.random.default_rng(3)
    table = make_table(rng.integers(0, 1000, 300))
    encoder = Encoder()
    encoder.put(rng.integers(0, 300, 60), table)
    encoder.put(rng.integers(0, 1 << 16, 20), uniform(1 << 16))
    data = encoder.finish()
    cases = [data[:n] for n in range(len(data))] + [data[n:] for n in range(len(data))]
    for at in range(len(data)):
        cases.append(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
    cases += [rng.bytes(int(n)) for n in rng.integers(0, 400, 200)]
    ended = 0
    for case in cases:
        try:
            decoder = Decoder(case)
            a, b = decoder.get(60, table), decoder.get(20, uniform(1 << 16))
            assert 0 <= a.min() and a.max() < 300 and 0 <= b.min() and b.max() < 1 << 16
            decoder.finish()
        except CorruptError:
            ended += 1
    assert ended > len(cases) // 2


# --- adaptive tables ---


def test_uniform_symbols_of_several_sizes_match_the_reference() -> None:
    rng = np.random.default_rng(4)
    bits = rng.integers(1, 14, 500)
    symbols = rng.integers(0, 1 << bits)
    encoder = Encoder()
    encoder.put(symbols, UNIFORM, (1 << bits).astype(np.int32))
    data = encoder.finish()
    assert np.array_equal(Decoder(data).get(500, UNIFORM, (1 << bits).astype(np.int32)), symbols)
    stream = Stream(data)
    assert [stream.uniform(int(b)) for b in bits] == symbols.tolist()


def test_writing_without_symbols_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError):
        Coding(Encoder()).code(None, 3, uniform(2))


def test_the_errors_are_lvcs() -> None:
    assert issubclass(CorruptError, LvcError)
