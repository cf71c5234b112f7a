"""The engine for 64-bit ARM, cross-compiled by ziglang (or Debian's gcc) and run by qemu: the same integers from NEON
as from numpy."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvc.engine import library, nets
from lvc.engine import program as p
from scripts import build_native
from tests.helpers import programs

from .test_nets import by_reference

ROOT = Path(__file__).resolve().parents[2]
GCC = shutil.which("aarch64-linux-gnu-gcc")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # ziglang's first build makes a libc too
    pytest.mark.skipif(not GCC and importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed"),
    pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-aarch64 is not installed"),
]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run_program.c with the engine, static, for ARM with Linux."""
    out = tmp_path_factory.mktemp("arm") / "run_program"
    command = [GCC] if GCC else [*build_native.zig(), "-target", "aarch64-linux-musl"]
    build_native.compile_engine(command, out, "aarch64", Path(__file__).with_name("run_program.c"))
    return out


def dump(
    model: p.Model, size: tuple[int, int], level: int, inputs: list[np.ndarray], sizes: list[int], stream: bytes
) -> bytes:
    """What run_program.c reads."""
    block = bytearray()

    def at(array: np.ndarray | None, kind: Any) -> int | None:
        if array is None:
            return None
        block.extend(bytes(-len(block) % 8))
        place = len(block) + 1
        block.extend(np.ascontiguousarray(array, kind).tobytes())
        return place

    program = model.programs["frame"]
    layers = (nets._Layer * len(program.layers))()
    for c, layer in zip(layers, program.layers, strict=True):
        nets._describe(c, layer, at)
    tensors = b"".join(bytes(nets._Tensor(p.KINDS.index(t.kind), t.scale, t.channels)) for t in program.tensors)
    assert model.tables is not None
    tables = nets._Tables(at(model.tables.frequencies, np.uint32), at(model.tables.reach, np.uint16))
    data = (ctypes.c_void_p * len(inputs))(*(at(x, x.dtype) for x in inputs))
    counts = [model.levels, len(program.tensors), len(layers), len(inputs), len(sizes), *size, level]
    ints = lambda values: np.array(values, np.int32).tobytes()  # noqa: E731
    parts = [
        ints([*counts, len(block), len(stream)]), tensors, bytes(layers), ints(program.inputs), ints(program.outputs),
        bytes(tables), bytes(data), ints(sizes), bytes(block), stream,
    ]  # fmt: skip
    return b"".join(parts)


@pytest.mark.parametrize("isa", ["neon", "c"])
def test_arm_gives_the_same(isa: str, runner: Path, tmp_path: Path) -> None:
    model, size = programs.codec(), (10, 14)
    given = programs.frame(model, size)
    expected, stream = by_reference(model, size, 1, given)
    arrays = [expected[0].astype(np.int16), expected[1].astype(np.int16)]
    inputs = [given["prediction"], given["flags"]]
    (tmp_path / "in").write_bytes(dump(model, size, 1, inputs, [a.nbytes for a in arrays], stream))
    command = ["qemu-aarch64", "-cpu", "max", str(runner), str(library.ISAS.index(isa)), "in", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == b"".join(a.tobytes() for a in arrays)


def test_a_processor_without_dot_products_is_told_apart(runner: Path, tmp_path: Path) -> None:
    """A Cortex-A72 must not be given NEON's dot products."""
    (tmp_path / "in").touch()
    command = ["qemu-aarch64", "-cpu", "cortex-a72", str(runner), str(library.ISAS.index("neon")), "in", "out"]
    assert subprocess.run(command, cwd=tmp_path).returncode == 3
