"""A model file from a stranger is checked like any input: nothing of it runs before its bounds are known."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from lvc.engine import program as p
from lvc.errors import CorruptError, LimitError, LvcError, UnsupportedError
from tests.helpers import programs


@pytest.fixture(scope="module")
def good() -> p.Model:
    return programs.codec(c8=16, c16=16, m=8)


def of(model: p.Model, op: str, **fields: object) -> p.Layer:
    """The first layer of a kind."""
    return next(
        layer
        for layer in model.programs["frame"].layers
        if layer.op == op and all(getattr(layer, k) == v for k, v in fields.items())
    )


def frame(model: p.Model) -> p.Program:
    return model.programs["frame"]


def tensor(model: p.Model, i: int, **fields: object) -> None:
    t = frame(model).tensors[i]
    frame(model).tensors[i] = p.Tensor(**{**t.__dict__, **fields})


def overflow_8(m: p.Model) -> None:
    of(m, p.CONV, wide=False).parts[0].bias[0, 0] = (1 << 24) - 100


def overflow_negative(m: p.Model) -> None:
    of(m, p.CONV, wide=False).parts[0].bias[0, 0] = -(2**31)


def overflow_wide(m: p.Model) -> None:
    layer = of(m, p.CONV, wide=True)
    layer.limit = 32767
    layer.parts[0].weight[0] = -32768


def overflow_by_rounding(m: p.Model) -> None:
    w = of(m, p.BLOCK).parts[0]
    w.weight[0], w.shift[0], w.bias[0, 0] = 0, 24, 1 << 23


def overflow_depthwise(m: p.Model) -> None:
    of(m, p.DEPTHWISE).parts[0].bias[0, 0] = 1 << 24


def too_many(m: p.Model) -> None:
    frame(m).layers *= 40


def loop(m: p.Model) -> None:
    layer = of(m, p.CONV)
    layer.sources = [p.Source(frame(m).outputs[0])]


def itself(m: p.Model) -> None:
    layer = of(m, p.BLOCK)
    layer.sources = [p.Source(layer.out)] * 2


def large(m: p.Model) -> None:
    """Five tensors of 1024 channels at 1/8."""
    b = programs.Builder(np.random.default_rng(0))
    parts = [b.conv([b.input(p.S16, 3, 4)], 1024) for _ in range(9)]
    b.program.outputs = parts
    m.programs["frame"] = b.program


def slow(m: p.Model) -> None:
    b = programs.Builder(np.random.default_rng(0))
    t = b.conv([b.input(p.S16, 3, 4)], 512, p.U7)
    for _ in range(20):
        t = b.conv([t], 512, p.U7)
    b.program.outputs = [t]
    m.programs["frame"] = b.program


def set_field(op: str, /, **fields: object) -> Callable[[p.Model], None]:
    def change(m: p.Model) -> None:
        for key, value in fields.items():
            setattr(of(m, op), key, value)

    return change


def tables(change: Callable[[p.Tables], object]) -> Callable[[p.Model], None]:
    def apply(m: p.Model) -> None:
        assert m.tables is not None
        change(m.tables)

    return apply


def no_tables(m: p.Model) -> None:
    m.tables = None


def laps(luma: object = None, chroma: object = None) -> Callable[[p.Model], None]:
    def apply(m: p.Model) -> None:
        right = [np.round(np.eye(n) * 16384).astype(np.int16) for n in (16, 8)]
        m.laps = tuple(b if a is None else a for a, b in zip((luma, chroma), right, strict=True))  # type: ignore[assignment]

    return apply


def index_out_of_tables(m: p.Model) -> None:
    of(m, p.CONV, high=63).high = 64


def index_from_an_input(m: p.Model) -> None:
    layer = of(m, p.CODE)
    tensor(m, frame(m).inputs[1], channels=2)
    layer.sources = [layer.sources[0], p.Source(frame(m).inputs[1])]


def steps_swapped(m: p.Model) -> None:
    codes = [layer for layer in frame(m).layers if layer.op == p.CODE]
    codes[1].step, codes[2].step = 2, 1


BAD: dict[str, Callable[[p.Model], object]] = {
    **{f.__name__: f for f in (
        overflow_8, overflow_negative, overflow_wide, overflow_by_rounding, overflow_depthwise, too_many, loop, itself,
        large, slow, no_tables, index_out_of_tables, index_from_an_input, steps_swapped,
    )},
    "unknown layer": set_field(p.CONV, op="rm"),
    "unknown mode": set_field(p.CONV, mode="down9"),
    "wrong mode": set_field(p.CONV, mode=p.UP2),
    "unknown mode of a layer without": set_field(p.DEPTHWISE, mode="down9"),
    "a mode of a layer without": set_field(p.GAIN, mode=p.DOWN2),
    "a mode of symbols": set_field(p.CODE, mode=p.UP2),
    "a mode of hyper-latents": set_field(p.HYPER, mode=p.DOWN3),
    "16 bits in a block": set_field(p.BLOCK, wide=True),
    "16 bits in a depthwise layer": set_field(p.DEPTHWISE, wide=True),
    "output far away": set_field(p.CONV, out=10**9),
    "negative output": set_field(p.CONV, out=-1),
    "negative addend": set_field(p.CONV, add=500),
    "an addend beyond int32": set_field(p.GAIN, add=(1 << 32) + 1),
    "symbols with an addend": set_field(p.CODE, add=0),
    "hyper-latents with an addend": set_field(p.HYPER, add=0),
    "outputs": set_field(p.CONV, outputs=10**9),
    "step": set_field(p.CONV, step=4),
    "a step where there is none": set_field(p.CONV, step=0),
    "zero": set_field(p.CONV, zero=128),
    "high": set_field(p.CONV, high=200),
    "no sources": set_field(p.CONV, sources=[]),
    "no parts": set_field(p.CONV, parts=[]),
    "source far away": set_field(p.BLOCK, sources=[p.Source(10**6)] * 2),
    "read shift": set_field(p.BLOCK, sources=[p.Source(2, 9)] * 2),
    "gate shift": set_field(p.BLOCK, gate_shift=15),
    "block zeros": set_field(p.BLOCK, zeros=(0, 0, -1)),
    "gain missing": set_field(p.GAIN, gain=None),
    "gain shift": set_field(p.GAIN, gain_shift=np.array([25, 0, 0], np.uint8)),
    "gain of other levels": set_field(p.GAIN, gain=np.zeros((2, 8), np.int16)),
    "lap of another shape": laps(np.zeros((8, 8), np.int16)),
    "lap of another type": laps(chroma=np.zeros((8, 8), np.int32)),
    "lap that could overflow": laps(np.full((16, 16), 4096, np.int16)),
    "a gain that adds another shape": set_field(p.GAIN, add=0),
    "hyper tables": set_field(p.HYPER, tables=np.full((1, 20), 64, np.uint8)),
    "tensor kind": lambda m: tensor(m, 3, kind="f32"),
    "tensor scale": lambda m: tensor(m, 3, scale=2),
    "tensor scale far": lambda m: tensor(m, 3, scale=40),
    "tensor channels": lambda m: tensor(m, 3, channels=0),
    "tensor channels many": lambda m: tensor(m, 3, channels=10**12),
    "tensor channels other": lambda m: tensor(m, 3, channels=21),
    "input twice": lambda m: frame(m).inputs.append(frame(m).inputs[0]),
    "input overwritten": set_field(p.CONV, out=0),
    "output never written": lambda m: (frame(m).tensors.append(p.Tensor("x", p.U7, 3, 1)), frame(m).outputs.append(
        len(frame(m).tensors) - 1)),
    "output beyond": lambda m: frame(m).outputs.append(10**6),
    "levels": lambda m: setattr(m, "levels", 0),
    "other levels": lambda m: setattr(m, "levels", 4),
    "reach": tables(lambda t: t.reach.__setitem__(5, 0)),
    "reach far": tables(lambda t: t.reach.__setitem__(5, 60000)),
    "frequency 0": tables(lambda t: t.frequencies.__setitem__(0, 0)),
    "sum": tables(lambda t: t.frequencies.__setitem__(0, t.frequencies[0] + 1)),
    "frequencies cut": tables(lambda t: setattr(t, "frequencies", t.frequencies[:-1])),
    "shift": lambda m: of(m, p.CONV).parts[0].shift.__setitem__(0, 32),
    "weights of another shape": lambda m: setattr(of(m, p.CONV).parts[0], "weight", np.zeros((1, 1), np.int8)),
    "weights of another type": lambda m: setattr(
        of(m, p.CONV).parts[0], "weight", of(m, p.CONV).parts[0].weight.astype(np.int16)),
    "bias of another type": lambda m: setattr(
        of(m, p.CONV).parts[0], "bias", of(m, p.CONV).parts[0].bias.astype(np.int64)),
    "shift of another type": lambda m: setattr(
        of(m, p.CONV).parts[0], "shift", of(m, p.CONV).parts[0].shift.astype(np.int32)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_programs_are_refused(good: p.Model, name: str) -> None:
    bad = copy.deepcopy(good)
    BAD[name](bad)
    with pytest.raises(LimitError if name in ("too_many", "large", "slow") else CorruptError):
        p.check(bad)


def test_layers_and_tensors_are_counted(good: p.Model) -> None:
    bad = copy.deepcopy(good)
    frame(bad).tensors *= 100
    with pytest.raises(LimitError, match="tensors"):
        p.check(bad)
    bad = copy.deepcopy(good)
    bad.programs = {str(i): frame(good) for i in range(17)}
    with pytest.raises(LimitError, match="programs"):
        p.check(bad)


def test_damaged_files_are_refused(good: p.Model, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    p.save(good, path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(CorruptError):
            p.load(path)
    head = int.from_bytes(data[:8], "little")
    for _ in range(200):
        bad = bytearray(data)
        bad[8 + int(rng.integers(head))] = int(rng.integers(32, 127))
        path.write_bytes(bad)
        try:
            p.load(path)
        except LvcError:
            pass  # anything else would be a bug


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda h: h.update(version=2), UnsupportedError),
        (lambda h: h.update(levels="3"), CorruptError),
        (lambda h: h.update(levels=True), CorruptError),
        (lambda h: h.pop("programs"), CorruptError),
        (lambda h: h.update(programs=[]), CorruptError),
        (lambda h: h["programs"]["frame"]["layers"][0].pop("op"), CorruptError),
        (lambda h: h["programs"]["frame"]["layers"][0].update(op=["conv"]), CorruptError),
        (lambda h: h["programs"]["frame"]["layers"][0].update(out=1.5), CorruptError),
        (lambda h: h["programs"]["frame"]["layers"][0].update(out=2**70), CorruptError),
        (lambda h: h["programs"]["frame"].update(layers=h["programs"]["frame"]["layers"] * 50), LimitError),
    ],
)
def test_damaged_heads_are_refused(
    good: p.Model, tmp_path: Path, change: Callable[[dict[str, object]], object], error: type[LvcError]
) -> None:
    path = tmp_path / "m.safetensors"
    p.save(good, path)
    arrays = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        head = json.loads(file.metadata()["lvc.programs"])
    change(head)
    safetensors.numpy.save_file(arrays, path, {"lvc.programs": json.dumps(head)})
    with pytest.raises(error):
        p.load(path)


def test_large_files_are_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "m.safetensors", "wb") as file:
        file.truncate(p.MAX_FILE + 1)
    with pytest.raises(LimitError):
        p.load(tmp_path / "m.safetensors")


def test_a_model_is_the_same_file_every_time(good: p.Model, tmp_path: Path) -> None:
    """Also with metadata, which the library of safetensors writes in any order."""
    about = {f"key {n}": str(n) for n in range(12)}
    p.save(good, tmp_path / "a", about)
    code = "import sys; from lvc.engine.program import load, save; save(load('a'), 'b', eval(sys.argv[1]))"
    backwards = dict(reversed(about.items()))
    subprocess.run([sys.executable, "-c", code, repr(backwards)], cwd=tmp_path, check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safetensors.safe_open(tmp_path / "a", "np") as file:
        assert {**file.metadata(), "lvc.programs": ""} == {**about, "lvc.programs": ""}


def test_every_negative_number_means_no_addend(good: p.Model, tmp_path: Path) -> None:
    p.save(good, tmp_path / "a")
    data = (tmp_path / "a").read_bytes().replace(b'\\"add\\":-1,', b'\\"add\\":-7,')
    assert data != (tmp_path / "a").read_bytes()
    assert {la.add for pr in p.loads(data).programs.values() for la in pr.layers} >= {-1}
    assert p.loads(data).programs.keys() == good.programs.keys()
