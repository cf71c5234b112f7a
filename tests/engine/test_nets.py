"""One result everywhere: numpy, C on every instruction set that runs here, torch; any number of threads; any mask."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lvc.engine import library, nets, rans_reference, reference
from lvc.engine import program as p
from lvc.engine.torch_engine import TorchNetwork
from lvc.errors import CorruptError
from tests.helpers import programs

ISAS = [isa for isa in library.ISAS if library.runs(isa)]
SIZES = [(2, 2), (6, 4), (14, 26), (10, 38)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    yield
    nets.set_threads(1)


@pytest.fixture(scope="module")
def model() -> p.Model:
    return programs.codec()


def by_reference(
    model: p.Model, size: tuple[int, int], level: int, given: dict[str, np.ndarray], coded: np.ndarray | None = None
) -> tuple[list[np.ndarray], bytes]:
    writer = rans_reference.Writer()
    assert model.tables is not None
    run = reference.Run(
        model, "frame", [given["prediction"], given["flags"]], size, level,
        reference.TableSymbols(writer, model.tables), coded, given["y"], given["z"],
    )  # fmt: skip
    return run.run(), writer.finish()


@pytest.mark.parametrize("size", SIZES)
def test_every_engine_gives_the_same(model: p.Model, size: tuple[int, int]) -> None:
    given, level = programs.frame(model, size), 1
    expected, stream = by_reference(model, size, level, given)
    assert len(np.unique(expected[0])) > min(expected[0].size // 8, 200), "a test that compares constants"
    for isa in ISAS:
        network = nets.Network(model, "frame", isa)
        writer = nets.Coder()
        inputs = [given["prediction"], given["flags"]]
        written = network.run(inputs, size, level, coder=writer, y=given["y"], z=given["z"])
        data = writer.finish()
        assert data == stream, isa
        reader = nets.Coder(data)
        symbols = np.zeros_like(given["y"])
        read = network.run(inputs, size, level, coder=reader, symbols=symbols)
        reader.finish()
        for a, b, c in zip(expected, written, read, strict=True):
            assert np.array_equal(a, b) and np.array_equal(a, c), isa
        assert symbols.any() or not given["y"].any()
    found = TorchNetwork(model, "frame").run(
        [torch.from_numpy(x) for x in inputs], size, level, torch.from_numpy(given["y"]), torch.from_numpy(given["z"])
    )
    assert np.array_equal(found[0].numpy(), expected[0])
    assert np.array_equal(found[1].numpy(), expected[1])


@pytest.mark.parametrize("isa", ISAS)
def test_threads_do_not_show(model: p.Model, isa: str) -> None:
    size = 22, 30
    given = programs.frame(model, size)
    network, space = nets.Network(model, "frame", isa), nets.Workspace()
    outcomes = set()
    for threads in (1, 2, 3, 7):
        nets.set_threads(threads)
        coder = nets.Coder()
        out = network.run(
            [given["prediction"], given["flags"]], size, 2, coder=coder, y=given["y"], z=given["z"], workspace=space
        )
        outcomes.add((coder.finish(), *(x.tobytes() for x in out)))
    assert len(outcomes) == 1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", [48, 64])
def test_an_output_takes_the_place_of_an_input_that_is_no_longer_read(isa: str, channels: int) -> None:
    """Arrays of 64 channels are worked on as they are, those of 48 in padded copies."""
    model, size = programs.codec(c8=channels), (14, 26)
    given = programs.frame(model, size)
    expected, stream = by_reference(model, size, 1, given)
    network = nets.Network(model, "frame", isa)
    number = network.spare_input()
    assert number == 0
    inputs = [given["prediction"].copy(), given["flags"]]
    coder = nets.Coder()
    out, values = network.run(inputs, size, 1, coder=coder, y=given["y"], z=given["z"], out=inputs[number])
    assert out is inputs[number] and coder.finish() == stream
    assert np.array_equal(out, expected[0]) and np.array_equal(values, expected[1])
    with pytest.raises(ValueError, match="an output"):
        network.run(inputs, size, 1, coder=nets.Coder(), y=given["y"], z=given["z"], out=inputs[0][:-1])


def test_no_input_is_spare_that_the_last_layer_reads(model: p.Model) -> None:
    program = model.programs["frame"]
    *rest, last = program.layers
    sources = [*last.sources, p.Source(program.inputs[0])]
    changed = dataclasses.replace(program, layers=[*rest, dataclasses.replace(last, sources=sources)])
    network = nets.Network(model, "frame")
    network.program = changed
    assert network.spare_input() is None


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("share", [0.0, 0.03, 0.3, 0.9])
def test_what_is_wanted_is_what_all_would_be(model: p.Model, isa: str, share: float) -> None:
    """Blocks without symbols, blocks that nobody wants: the rest has the same values, and the stream is the same."""
    size = 24, 34
    rng = np.random.default_rng(int(share * 100))
    wanted, coded = (rng.random((size[0] // 2, size[1] // 2)) < share for _ in range(2))
    given = programs.frame(model, size)
    expected, stream = by_reference(model, size, 0, given, coded)
    nets.set_threads(2)
    coder = nets.Coder()
    out, values = nets.Network(model, "frame", isa).run(
        [given["prediction"], given["flags"]], size, 0, coder=coder, y=given["y"], z=given["z"], coded=coded,
        wanted=wanted,
    )  # fmt: skip
    assert coder.finish() == stream
    pixels = wanted.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(out[pixels], expected[0][pixels])
    assert np.array_equal(values[wanted], expected[1][wanted])


def test_a_damaged_stream_does_no_harm(model: p.Model) -> None:
    size = 6, 4
    given = programs.frame(model, size)
    _, stream = by_reference(model, size, 1, given)
    network, rng = nets.Network(model, "frame"), np.random.default_rng(0)
    for _ in range(30):
        bad = bytearray(stream)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        for data in (bytes(bad), stream[: rng.integers(len(stream))], b""):
            reader = nets.Coder(data)
            network.run([given["prediction"], given["flags"]], size, 1, coder=reader)
            with pytest.raises(CorruptError):
                reader.finish()


def test_a_file_holds_the_program(model: p.Model, tmp_path: Path) -> None:
    p.save(model, tmp_path / "m.safetensors")
    again = p.load(tmp_path / "m.safetensors")
    size = 6, 4
    given = programs.frame(model, size)
    first, second = (by_reference(m, size, 1, given) for m in (model, again))
    assert first[1] == second[1] and np.array_equal(first[0][0], second[0][0])


def test_symbols_given_are_those_of_a_stream(model: p.Model) -> None:
    size = 6, 4
    given = programs.frame(model, size)
    inputs = [given["prediction"], given["flags"]]
    network, symbols = nets.Network(model, "frame"), np.zeros_like(given["y"])
    out = network.run(inputs, size, 1, coder=nets.Coder(), y=given["y"], z=given["z"], symbols=symbols)
    again = network.run(inputs, size, 1, symbols=symbols, z=given["z"])
    assert symbols.any() and all(np.array_equal(a, b) for a, b in zip(out, again, strict=True))
    with pytest.raises(ValueError, match="needs a coder, or the symbols"):
        network.run(inputs, size, 1, symbols=symbols)
