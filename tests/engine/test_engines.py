"""Which engine runs, and that numpy and torch do the whole of a decoder's work with the same results."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lvc
from lvc.engine import library, motion, nets, planes
from lvc.errors import CorruptError, UsageError
from tests.helpers import programs

from .test_motion import PYRAMID, coded
from .test_motion import planes as random_planes

ROOT = Path(lvc.__file__).parents[1]


@pytest.fixture
def numpy_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVC_ENGINE", "numpy")


@pytest.fixture
def best(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.delenv("LVC_ENGINE", raising=False)
    yield monkeypatch


def runs_of(engine: str, monkeypatch: pytest.MonkeyPatch, mask: bool) -> tuple[bytes, list[bytes]]:
    """Writes a frame, reads it back; the stream, and every output of both."""
    monkeypatch.setenv("LVC_ENGINE", engine)
    model, size, level = programs.codec(), (10, 14), 1
    given = programs.frame(model, size)
    network = nets.Network(model, "frame")
    assert network.isa == engine
    inputs, more = [given["prediction"], given["flags"]], {}
    if mask:
        more["coded"] = np.random.default_rng(3).random((size[0] // 2, size[1] // 2)) < 0.4
    rounding = np.full(64, 6, np.uint8)
    writer, kept = nets.Coder(), np.zeros_like(given["y"])
    made = network.run(
        inputs, size, level, coder=writer, y=given["y"], z=given["z"], rounding=rounding, symbols=kept, **more
    )
    bits, data = writer.bits(), writer.finish()
    assert abs(bits / 8 - len(data)) < 40
    reader, found = nets.Coder(data), np.zeros_like(given["y"])
    read = network.run(inputs, size, level, coder=reader, symbols=found, **more)
    assert reader.finish() == b"" and kept.any()
    return data, [a.tobytes() for a in (*made, kept, *read, found)]


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_frame_is_the_same(engine: str, mask: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs_of(engine, monkeypatch, mask) == runs_of("c", monkeypatch, mask)


def test_numpy_predicts_and_reads_motion(best: pytest.MonkeyPatch) -> None:
    """In the Python API, by numpy: fields and flags of a stream, predictions from the fields."""
    rows, cols = 6, 10
    fields, flags, data = coded(rows, cols, 5)
    ref = random_planes(np.random.default_rng(1), 8 * rows, 8 * cols)
    wanted = [motion.compensate(ref, None if f.to[1] is None else ref, f.mode, f.mv) for f in fields.values()]
    best.setenv("LVC_ENGINE", "numpy")
    assert coded(rows, cols, 5)[2] == data
    stream, found, seen = motion.Stream(data), {}, {}
    for level, (time, first, second) in enumerate(PYRAMID):
        refs = first, 0 if second is None else second
        mode, mv = stream.field((rows, cols), time, (first, second), (found.get(refs[0]), found.get(refs[1])), level)
        found[time] = motion.Field(mode, mv, time, (first, second))
        seen[time] = stream.flags(level, None, (seen.get(refs[0]), seen.get(refs[1]) if second is not None else None))
        assert np.array_equal(mode, fields[time].mode) and np.array_equal(mv, fields[time].mv)
        assert all(np.array_equal(a, b) for a, b in zip(seen[time], flags[time], strict=True))
        ours = motion.compensate(ref, None if second is None else ref, mode, mv)
        for a, b in zip(ours, wanted[list(fields).index(time)], strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert stream.finish() == b""
    with pytest.raises(CorruptError):
        damaged = motion.Stream(data[:-2])
        damaged.field((rows, cols), 4, (0, None), (None, None), 0)
        damaged.finish()


def test_contexts_go_on(best: pytest.MonkeyPatch) -> None:
    """A second stream that goes on from the contexts of the first, and one that is appended: the same bytes."""

    def written() -> bytes:
        rng = np.random.default_rng(2)
        mode, mv = np.zeros((8, 8), np.uint8), np.repeat(rng.integers(-9, 9, (2, 2, 1, 8)), 8, 2).astype(np.int16)
        mv[1] = 0
        first = motion.Stream()
        first.field((8, 8), 4, (0, None), (None, None), 0, (mode, mv))
        second = motion.Stream(None, first)
        second.field((8, 8), 8, (4, None), (None, None), 0, (mode, mv))
        first.coder.append(second.coder)
        return first.finish()

    wanted = written()
    best.setenv("LVC_ENGINE", "numpy")
    assert written() == wanted


def test_numpy_makes_planes(best: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    luma, chroma = (rng.integers(0, 4096, s).astype(np.int16) for s in ((32, 48), (2, 16, 24)))
    residual = rng.integers(-32768, 32768, (4, 6, 96)).astype(np.int16)
    laps = tuple(np.round(np.eye(n) * 16384).astype(np.int16) for n in (16, 8))
    mask = rng.random((2, 3)) < 0.5

    def made() -> list[bytes]:
        pairs = (
            planes.to_planes(residual, 3, 0, (luma, chroma), mask),
            planes.to_planes(residual, 4, 2040),
            planes.key_planes(residual, (laps[0], laps[1])),
        )
        return [planes.to_patches(luma, chroma, 2040).tobytes(), *(p.tobytes() for pair in pairs for p in pair)]

    wanted = made()
    best.setenv("LVC_ENGINE", "numpy")
    assert made() == wanted


def test_bad_fields_are_refused_in_numpy(numpy_engine: None) -> None:
    one = random_planes(np.random.default_rng(0), 16, 16)
    mode, mv = np.zeros((2, 2), np.uint8), np.zeros((2, 2, 2, 2), np.int16)
    for m, v in ((1, 0), (3, 0), (0, 4096), (0, -32768)):
        mode[1, 1], mv[0, 0, 1, 1] = m, v
        with pytest.raises(ValueError, match="no frame can have"):
            motion.compensate(one, None, mode, mv)


def test_an_encoder_in_numpy_searches_in_c(best: pytest.MonkeyPatch) -> None:
    """The search is compiled; with the stream of either engine it finds the same field."""

    def found() -> list[bytes]:
        rng = np.random.default_rng(7)
        luma = rng.integers(0, 4096, (48, 64)).astype(np.int16)
        now = motion.Picture(np.roll(luma, 3, 1), reference=False)
        stream = motion.Stream()
        out = []
        for time in (1, 2):
            mode, mv, _ = motion.search(now, (motion.Picture(luma), None), time, (0, None), 0.01, stream=stream)
            stream.field((6, 8), time, (0, None), (None, None), 0, (mode, mv))
            out += [mode.tobytes(), mv.tobytes()]
        return [*out, stream.finish()]

    wanted = found()
    best.setenv("LVC_ENGINE", "numpy")
    assert found() == wanted


# ---- which one runs ----


def test_an_engine_that_cannot_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVC_ENGINE", "cobol")
    with pytest.raises(UsageError, match="no engine is called 'cobol' — choose one of avx512vnni, .*, c, numpy, torch"):
        library.chosen()
    missing = next(isa for isa in library.ISAS if not library.runs(isa))  # neon on x86, avx2 on ARM
    monkeypatch.setenv("LVC_ENGINE", missing)
    with pytest.raises(UsageError, match=f"this processor cannot run '{missing}'"):
        nets.Network(programs.codec(), "frame")
    for name in ("numpy", "torch", "c"):
        monkeypatch.setenv("LVC_ENGINE", name)
        assert library.chosen() == name


def lvc_of(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "LVC_ENGINE"} | {"PYTHONPATH": str(folder)} | environment
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def without_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lvc as a checkout has it before scripts/build_native.py was run."""
    folder = tmp_path_factory.mktemp("uncompiled")
    shutil.copytree(ROOT / "lvc", folder / "lvc", ignore=shutil.ignore_patterns("_*.so", "__pycache__"))
    return folder


@pytest.mark.slow
def test_the_version_says_which_engine_runs() -> None:
    said = lvc_of(ROOT, "-m", "lvc", "--version", LVC_ENGINE="c")
    assert (said.returncode, said.stdout, said.stderr) == (0, f"lvc {lvc.__version__} (engine c)\n", "")
    said = lvc_of(ROOT, "-m", "lvc", "--version")
    assert said.stdout == f"lvc {lvc.__version__} (engine {best_here()})\n"
    said = lvc_of(ROOT, "-m", "lvc", "--version", LVC_ENGINE="cobol")
    assert said.returncode == 2 and said.stdout == ""
    assert said.stderr.startswith("lvc: error: LVC_ENGINE: no engine is called 'cobol' — choose one of ")


def best_here() -> str:
    return next(isa for isa in library.ISAS if library.runs(isa))


@pytest.mark.slow
def test_without_the_library_numpy_decodes_and_says_so_once(without_library: Path) -> None:
    said = lvc_of(without_library, "-m", "lvc", "--version")
    assert (said.returncode, said.stdout) == (0, f"lvc {lvc.__version__} (engine numpy)\n")
    assert said.stderr == f"lvc: warning: {library.SLOW} — {library.REMEDY}\n"
    code = """
import warnings, numpy as np
from lvc.engine import coder, library, motion, nets
from lvc.errors import UsageError
nets.set_threads(2), nets.Workspace()
a, b = coder.Coder(), motion.Stream()
assert library.chosen() == "numpy" and a.finish() == coder.Coder().finish()
try:
    motion.Picture(np.zeros((16, 16), np.int16))
except UsageError as e:
    assert "without it lvc can only decode" in str(e)
else:
    raise AssertionError
"""
    said = lvc_of(without_library, "-c", code)
    assert said.returncode == 0, said.stderr
    assert said.stderr.count("the compiled engine is missing") == 1
    said = lvc_of(without_library, "-c", code, LVC_ENGINE="numpy")
    assert (said.returncode, said.stderr) == (0, "")
    for engine in ("avx2", "torch"):
        said = lvc_of(without_library, "-m", "lvc", "--version", LVC_ENGINE=engine)
        assert said.returncode == 2 and "the compiled engine is missing" in said.stderr


def test_a_library_of_other_sources_is_refused(without_library: Path, tmp_path: Path) -> None:
    shutil.copytree(without_library / "lvc", tmp_path / "lvc")
    shutil.copy2(library.LIBRARY, tmp_path / "lvc" / "engine")
    (tmp_path / "lvc" / "engine" / "new.c").write_text("")
    said = lvc_of(tmp_path, "-m", "lvc", "--version")
    assert said.returncode == 2 and "older than its sources" in said.stderr
