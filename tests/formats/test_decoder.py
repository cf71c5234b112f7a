"""The second decoder, formats/lvz_decoder.py, shows what lvc's own codec shows, and refuses the same model files."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lvz_decoder as second
import numpy as np
import pytest

from lvc.codec import EncodeSettings, encode
from lvc.codec.shown import shown
from lvc.engine import motion, nets, planes, rans_reference
from lvc.engine import program as p
from lvc.files import decode_frames
from lvc.media.types import Frame
from lvc.models import default_model_path
from lvc.models.delta import applied
from tests.engine.test_program import BAD
from tests.helpers import programs
from tests.helpers.small_models import frame, model, model_file, video

FORMATS = Path(__file__).resolve().parents[2] / "formats"


@pytest.fixture(scope="module")
def read_model() -> Any:
    return second.read_model(model_file().read_bytes())


def lively(n: int, height: int, width: int) -> Frame:
    """Two patterns that move against each other, noise, and a part that stands still."""
    a, b = frame(n, height, width, shift=1.3 * n), frame(n, height, width, shift=-2.7 * n, seed=1)
    y = a.y.copy()
    y[: height // 2] = b.y[: height // 2]
    y[height // 3 :, : width // 3] = 90
    noise = np.random.default_rng(n).integers(-6, 7, y.shape)
    y[:, width // 2 :] = np.clip(y.astype(int) + noise, 0, 255).astype(np.uint8)[:, width // 2 :]
    return replace(a, y=y)


def agree(read_model: Any, frames: list[Frame], **settings: Any) -> set[int]:
    """Checks every frame against its checksum → the structures that there were."""
    height, width = frames[0].y.shape
    clips = list(encode(iter(frames), video(height, width), model(), EncodeSettings(threads=1, **settings)))
    decoder = second.Decoder(read_model, {"height": height, "width": width, "bit_depth": 8})
    for clip in clips:
        assert all(clip.checks)
        said = {"payload": clip.payload, "pts": clip.pts, "checks": clip.checks, "check_bits": 32}
        assert len(decoder.clip(said, clip.key)) == len(clip.pts)
    return {clip.payload[0] for clip in clips if not clip.key}


@pytest.mark.parametrize(
    ("size", "settings", "structures"),
    [
        ((41, 75), {"clip_frames": 5, "quality": 80}, {3}),
        ((64, 96), {"clip_frames": 8, "quality": 20}, {0, 2}),
        ((48, 64), {"clip_frames": 3, "low_delay": True}, {1}),
        ((16, 16), {"clip_frames": 1, "quality": 98}, {0, 2}),
        ((16, 16), {"clip_frames": 1, "quality": 100}, {0, 2, 3}),
        ((1, 1), {"clip_frames": 4}, {0}),
    ],
    ids=str,
)
def test_frames_are_the_same(
    read_model: Any, size: tuple[int, int], settings: dict[str, Any], structures: set[int]
) -> None:
    frames = [lively(n, *size) for n in range(11)]
    assert agree(read_model, frames, **settings) >= structures


def test_another_picture_is_noticed(read_model: Any) -> None:
    clip = next(iter(encode(iter([lively(0, 32, 32)]), video(32, 32), model(), EncodeSettings(threads=1))))
    decoder = second.Decoder(read_model, {"height": 32, "width": 32, "bit_depth": 8})
    said = {"payload": clip.payload, "pts": clip.pts, "checks": (clip.checks[0] ^ 1,), "check_bits": 32}
    with pytest.raises(second.CorruptError, match="checksum"):
        decoder.clip(said, True)


def test_rounding_of_what_is_shown() -> None:
    rng = np.random.default_rng(0)
    made = rng.integers(0, 4096, (16, 32)).astype(np.int16), rng.integers(0, 4096, (2, 8, 16)).astype(np.int16)
    for depth in (8, 10):
        theirs = second.shown([made[0], *made[1]], {"height": 9, "width": 31, "bit_depth": depth})
        assert theirs == b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in shown(made, 9, 31, depth))


def test_random_fields() -> None:
    """Far vectors, all modes, key frames as references: what no encoder would choose."""
    rng = np.random.default_rng(3)
    rows, columns = 10, 14

    def field(two: bool, reach: int) -> tuple[np.ndarray, np.ndarray]:
        few = rng.integers(-reach, reach + 1, (4, 4)).astype(np.int16)
        pick = np.kron(rng.integers(0, 4, (rows // 2, columns // 2)), np.ones((2, 2), int))
        pick[rng.random(pick.shape) < 0.1] = 3
        mode = (pick % 3 if two else np.zeros_like(pick)).astype(np.uint8)
        vectors = few[pick].transpose(2, 0, 1).reshape(2, 2, rows, columns).copy()
        vectors[0][:, mode == 1] = 0
        vectors[1][:, mode == 0] = 0
        return mode, np.ascontiguousarray(vectors)

    plan = [(8, (0, None)), (4, (0, 8)), (2, (0, 4)), (6, (4, 8)), (16, (8, 0)), (12, (8, 16))]
    reaches = 9, 40, 4095, 3, 200, 30
    fields = [field(refs[1] is not None, reach) for (_, refs), reach in zip(plan, reaches, strict=True)]
    stream, known = motion.Stream(), {0: None}
    for (time, refs), (mode, mv) in zip(plan, fields, strict=True):
        of = tuple(None if r is None else known[r] for r in refs)
        stream.field((rows, columns), time, refs, of, time % 3, (mode, mv))
        known[time] = motion.Field(mode, mv, time, refs)
    reader, contexts = second.Stream(stream.finish()), second.start_of_contexts()
    decoded = {0: second.Decoded([], 0)}
    for (time, refs), (mode, mv) in zip(plan, fields, strict=True):
        named = [decoded[r] for r in refs if r is not None]
        motions = second.FieldReader(reader, contexts, rows, columns, time, named, time % 3).read()
        assert [[m[0] for m in row] for row in motions] == mode.tolist()
        for r in (0, 1):
            assert np.array_equal(np.array([[m[1 + r] for m in row] for row in motions]), mv[r].transpose(1, 2, 0))
        decoded[time] = second.Decoded([], time, motions, [d.time for d in named])
    reader.end()


@pytest.mark.parametrize("size", [(12, 20), (2, 2), (10, 6)], ids=str)
def test_random_programs(tmp_path: Path, size: tuple[int, int]) -> None:
    """Every kind of layer, with and without coded blocks, at every level."""
    made = programs.codec(c8=24, c16=32, m=16)
    p.save(made, tmp_path / "m")
    theirs = second.read_model((tmp_path / "m").read_bytes())
    for level in range(made.levels):
        given = programs.frame(made, size, seed=level)
        coded = np.random.default_rng(level).random((size[0] // 2, size[1] // 2)) < (1.0, 0.5, 0.1)[level]
        inputs, writer = [given["prediction"], given["flags"]], nets.Coder()
        ours = nets.Network(made, "frame").run(
            inputs, size, level, coder=writer, y=given["y"], z=given["z"], coded=coded.astype(np.uint8)
        )
        stream = second.Stream(writer.finish())
        program = second.Run(theirs, "frame", [x.astype(np.int64) for x in inputs], *size, level, stream, coded)
        program.first_output()
        stream.end()
        for i, values in zip(made.programs["frame"].outputs, ours, strict=True):
            assert np.array_equal(program.values[i], values)


def refused(read: Any) -> str | None:
    try:
        read()
    except Exception as error:
        return type(error).__name__
    return None


@pytest.mark.parametrize("name", BAD)
def test_bad_models_are_refused_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    bad = copy.deepcopy(programs.codec(c8=16, c16=16, m=8))
    BAD[name](bad)
    with monkeypatch.context() as patch:
        patch.setattr(p, "check", lambda model: None)
        p.save(bad, tmp_path / "m")
    ours = refused(lambda: p.load(tmp_path / "m"))
    assert ours in ("CorruptError", "LimitError")
    assert refused(lambda: second.read_model((tmp_path / "m").read_bytes())) == ours


def test_the_examples_of_the_document() -> None:
    text = " ".join((FORMATS / "decoder.md").read_text("utf-8").split("## 12 ")[-1].split())
    writer, context, table = rans_reference.Writer(), rans_reference.Context(), [8192, 40960, 12288, 4096]
    for bit in (1, 1, 0, 1, 1):
        writer.bit(context, bit)
    for symbol in (1, 0, 3):
        writer.symbol(table, symbol)
    writer.raw(1, 0)
    writer.golomb(2, 3)
    data = writer.finish()
    assert f"`{data.hex(' ')}`" in text
    stream, contexts = second.Stream(data), [(32768, 32768, 0)]
    for bit in (1, 1, 0, 1, 1):
        assert stream.flag(contexts, 0) == bit
        assert f"0x{stream.state:08x}" in text
    starts = [0, 8192, 49152, 61440, 65536]
    assert [stream.symbol([None, starts], 1) for _ in range(3)] == [0, -1, 5]
    stream.end()

    read = np.clip(second.rounded(np.array([-37, 90]), 2) + 64, 0, 127)
    v = second.rounded(read @ [30, -50] + 1000, 3)
    assert (read.tolist(), v, v >> 3, (v >> 3) + 40) == ([55, 87], -212, -27, 13)

    reader = second.FieldReader(None, None, 4, 4, 8, [second.Decoded([], 0)], 0)
    reader.motion[1][0] = reader.motion[0][1] = moved = (0, (4, 0), (0, 0))
    assert reader.candidates(1, 1, 1) == [(moved, 2), ((0, (0, 0), (0, 0)), 1)]

    lap = np.zeros((8, 8), np.int16)
    for i in range(4):
        lap[i, i] = lap[7 - i, 7 - i] = 13107
        lap[i, 7 - i], lap[7 - i, i] = 9830, -9830
    plane = np.tile(np.arange(-300, 1300, 100).astype(np.int16), (8, 1))
    expected = [-300, -200, -100, 0, -400, -260, -120, 20, 640, 660, 680, 700, 900, 1000, 1100, 1200]
    assert second.lapped(plane.astype(np.int64), lap.astype(np.int64))[3].tolist() == expected
    assert planes.lap(plane, lap)[3].tolist() == expected
    assert ", ".join(map(str, expected[4:12])).replace("-", "−") in text


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = b"YUV4MPEG2 W33 H21 F25:1 Ip C420jpeg\n"
    for n in range(4):
        f = lively(n, 21, 33)
        raw += b"FRAME\n" + b"".join(a.tobytes() for a in (f.y, f.u, f.v))
    (tmp_path / "a.y4m").write_bytes(raw)
    lvc = [sys.executable, "-m", "lvc"]
    subprocess.run([*lvc, "encode", "a.y4m", "a.lvz"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*lvc, "decode", "a.lvz", "b.y4m"], cwd=tmp_path, check=True, capture_output=True)
    shown = (tmp_path / "b.y4m").read_bytes().split(b"\n", 1)[1]
    step = len(shown) // 4
    expected = [hashlib.md5(shown[n * step + 6 : (n + 1) * step]).hexdigest() for n in range(4)]
    named = ["--model", str(default_model_path())]
    assert second.main([str(tmp_path / "a.lvz"), *named]) == 0
    assert capsys.readouterr().out.split() == expected
    assert second.main([str(tmp_path / "a.lvz")]) == 5
    assert second.main([str(tmp_path / "a.lvz"), "--model", str(model_file())]) == 5
    assert second.main([str(tmp_path / "none.lvz")]) == 3
    assert capsys.readouterr().out == ""


VECTORS = FORMATS / "vectors"
OF_MODELS = json.loads((VECTORS / "models.json").read_text("utf-8"))
OF_DELTAS = json.loads((VECTORS / "deltas.json").read_text("utf-8"))


def test_the_frames_of_the_vectors() -> None:
    """By both decoders."""
    expected = json.loads((VECTORS / "expected.json").read_text("utf-8"))
    named = [name for name, want in expected.items() if "md5" in want]
    assert named
    for name in named:
        with (VECTORS / name).open("rb") as file:
            assert list(second.md5s(file)) == expected[name]["md5"]
        frames = [f.y.tobytes() + f.u.tobytes() + f.v.tobytes() for f in decode_frames(VECTORS / name)]
        assert [hashlib.md5(f).hexdigest() for f in frames] == expected[name]["md5"]


@pytest.mark.parametrize("name", OF_MODELS)
def test_stored_models(name: str) -> None:
    data, wanted = (VECTORS / name).read_bytes(), OF_MODELS[name]["error"]
    assert refused(lambda: p.loads(data)) == wanted == refused(lambda: second.read_model(data))


@pytest.mark.parametrize("name", OF_DELTAS)
def test_stored_deltas(name: str) -> None:
    base, data = (VECTORS / "model-good.safetensors").read_bytes(), (VECTORS / name).read_bytes()
    wanted = OF_DELTAS[name]["error"]
    assert refused(lambda: applied(data, base, name)) == wanted == refused(lambda: second.apply_delta(data, base))
    if wanted is None:
        made = applied(data, base, name)
        assert made == second.apply_delta(data, base) != base and len(made) == len(base)
        assert len(second.read_model(made)["programs"]["small"]["layers"]) == 3
