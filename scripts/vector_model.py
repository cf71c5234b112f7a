"""A tiny model of a video codec, a video that it decodes, and model files with one flaw each, for `make_vectors.py`.

Everything is made by formulas and written by the engine's integers: the same bytes on every machine. The model is no
use for pictures; every kind of symbol, structure and mode occurs.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvc.codec.frames import Coded, Loop, Planes, References, expected, exposed_references, level_row
from lvc.codec.gop import GopEncoder
from lvc.codec.payload import DETAIL_FROM, ClipHead
from lvc.codec.pyramid import CHAIN, INTRA, LONG_TERM, OLDER, PYRAMID
from lvc.codec.settings import Effort
from lvc.codec.shown import checksum, shown
from lvc.engine import detail, motion, planes
from lvc.engine import program as p
from lvc.engine.coder import Coder
from lvc.engine.motion_reference import Exposure
from lvc.engine.planes import KEY_SHIFT
from lvc.lvz import MODEL_WHOLE, Clip, Header, LvzWriter, ModelChunk, VideoDescriptor
from lvc.models.delta import write_delta
from lvc.models.load import Model, model_of_bytes

NAME = "tiny"
LATENTS, HYPER, WIDTH = 8, 2, 4
HEIGHT_OF, WIDTH_OF = 40, 56
OFFSET = 2040


def spread(shape: tuple[int, ...], most: int, seed: int) -> np.ndarray:
    """Integers within ±most that look like chance."""
    n = np.arange(int(np.prod(shape)), dtype=np.int64) + 97 * seed
    return ((n * n * 131 + n * 7919 + (n >> 3) * 613) % (2 * most + 1) - most).reshape(shape)


class _Builder:
    def __init__(self) -> None:
        self.program = p.Program([], [], [], [])

    def tensor(self, kind: str, scale: int, channels: int) -> int:
        self.program.tensors.append(p.Tensor(f"t{len(self.program.tensors)}", kind, scale, channels))
        return len(self.program.tensors) - 1

    def conv(self, sources: list[int], kind: str, channels: int, mode: str, shift: int, **more: Any) -> int:
        tensors, step = self.program.tensors, int(more.get("step", -1))
        scale = tensors[sources[0]].scale - (mode == p.UP2)
        out = self.tensor(kind, scale, channels // 4 if step >= 0 else channels)
        inputs, outputs = sum(tensors[s].channels for s in sources), channels * (4 if mode == p.UP2 else 1)
        weight = spread((outputs, inputs), 90, len(self.program.layers)).astype(np.int8)
        # activations of 7 bits are around 64: what that adds is taken off
        bias = -64 * weight.astype(np.int32).sum(1, keepdims=True).T + spread((1, outputs), 800, len(tensors))
        part = p.Weights(weight, bias.astype(np.int32), np.full(outputs, shift, np.uint8))
        read = [
            # hyper-latents are small; latents and samples are not
            p.Source(s) if tensors[s].kind == p.U7 else p.Source(s, 0 if tensors[s].scale == 6 else 3, 64)
            for s in sources
        ]
        self.program.layers.append(p.Layer(p.CONV, out, read, channels, mode, parts=[part], **more))
        return out

    def symbols(self, hyper: int, also: list[int]) -> int:
        """Means and tables from hyper-latents and `also`, the latents step by step. → their tensor."""
        wide = self.conv([hyper], p.U7, WIDTH, p.UP2, 6, zero=64)
        base = [self.conv([wide], p.U7, WIDTH, p.UP2, 6, zero=64), *also]
        values = self.tensor(p.S16, 4, LATENTS)
        for step in range(4):
            known = base + ([values] if step else [])
            mean = self.conv(known, p.S16, LATENTS, p.POINT, 7, step=step)
            index = self.conv(known, p.U7, LATENTS, p.POINT, 7, step=step, zero=30, high=63)
            sources = [p.Source(mean), p.Source(index)]
            self.program.layers.append(p.Layer(p.CODE, values, sources, LATENTS, step=step))
        return values

    def finished(self, values: int, shift: int) -> p.Program:
        patches = self.conv([values], p.S16, 96, p.UP2, shift)
        self.program.outputs = [patches, values]
        return self.program

    def hyper(self) -> int:
        out = self.tensor(p.S16, 6, HYPER)
        tables = (np.arange(3 * HYPER).reshape(3, HYPER) % 5 * 12 + 3).astype(np.uint8)
        self.program.layers.append(p.Layer(p.HYPER, out, [], HYPER, tables=tables))
        return out


def _tables() -> p.Tables:
    """Reaches 1 to 4; the middle symbol is the likeliest."""
    reach = np.array([1, *(1 + i % 4 for i in range(63))], np.uint16)
    rows = []
    for i, r in enumerate(reach[1:].tolist()):
        weight = np.array([(r + 1 - abs(s)) ** 2 * (3 + i % 7) for s in range(-r, r + 1)] + [1], np.int64)
        row = 1 + weight * (65536 - len(weight)) // weight.sum()
        row[r] += 65536 - row.sum()
        rows.append(row)
    return p.Tables(reach, np.concatenate(rows).astype(np.uint32))


def tiny_model() -> p.Model:
    key = _Builder()
    key_program = key.finished(key.symbols(key.hyper(), []), 3)
    predicted = _Builder()
    inputs = [predicted.tensor(p.S16, 3, 96), predicted.tensor(p.S16, 3, 96), predicted.tensor(p.U7, 4, 1)]
    predicted.program.inputs = inputs
    predicted_program = predicted.finished(predicted.symbols(predicted.hyper(), [inputs[2]]), 4)
    laps = []
    for n in (16, 8):
        lap = np.diag(np.full(n, 13107, np.int16))
        for i in range(n // 2):
            lap[i, n - 1 - i], lap[n - 1 - i, i] = 3000, -3000
        laps.append(lap)
    return p.Model(768, {"key": key_program, "predicted": predicted_program}, _tables(), (laps[0], laps[1]))


def model_bytes(model: p.Model, name: str = NAME) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m")
        p.save(model, path, {"lvc.model": json.dumps({"name": name})})
        return path.read_bytes()


class Scripted(Loop):
    """Stands in for the encoder: fields, flags and latents come from a formula of the frame's number."""

    def _latents(self, number: int, key: bool) -> dict[str, np.ndarray]:
        made = self._nothing(key)
        y, z = made["symbols"], made["z"]
        y[:] = spread(y.shape, 70, number) * (spread(y.shape, 4, number + 5) == 0)
        y[:, :, 0] = spread(y.shape[:2], 900, number)  # far ones are escaped
        z[:] = spread(z.shape, 6, number + 1)
        return {"y": y, "z": z}

    def key(self, time: int, source: int, quality: int, coder: Coder, rounds: int = 0) -> Coded:
        made = self._key(quality, coder, **self._latents(source, True))[0]
        return Coded(time, self._detailed(made, quality, source, coder), quality)

    def _detailed(self, made: Planes, quality: int, number: int, coder: Coder) -> Planes:
        """Every third frame has none, though it might."""
        if quality < DETAIL_FROM:
            return made
        levels = detail.none(made)
        if number % 3:
            levels[:] = spread(levels.shape, 3, number) * (spread(levels.shape, 2, number + 1) == 0)
            levels[spread(levels.shape[:3], 2, number + 2) > 0] = 0
            levels[0, 0, :, : number + 1] = spread((6, number + 1), 60, number)
        return detail.code(made, quality, coder, levels)

    def predicted(
        self, time: int, refs: References, place: int, quality: int, source: int, prices: motion.Stream, effort: Effort
    ) -> tuple[Coded, Coder]:
        to = refs[0].time, None if refs[1] is None else refs[1].time
        exposure = expected(refs, place)
        if source % 3 == 0:
            exposure = Exposure(64 + source, -9 * source)
        refs = exposed_references(refs, exposure)
        rows, columns = self.size
        mode = np.kron(spread((rows // 2, columns // 2), 8, source) % (1 if to[1] is None else 3), np.ones((2, 2)))
        mode = mode.astype(np.uint8)
        few = spread((4, 2, 2), 21, source + 2)
        pick = np.kron(spread((rows // 2, columns // 2), 9, source + 3) % 4, np.ones((2, 2), np.int64)).astype(np.int64)
        pick[0, 1] = 3  # a block of 8x8 by itself
        mv = np.ascontiguousarray(few[pick].transpose(2, 3, 0, 1).astype(np.int16))
        mv[0][:, mode == 1] = 0
        mv[1][:, mode == 0] = 0
        skip = (spread((rows // 2, columns // 2), 5, source + 7) > -2).astype(np.uint8)
        copied = skip * (spread(skip.shape, 5, source + 9) > 0).astype(np.uint8)
        latents = Coder()
        made, d = motion.compensate(refs[0].planes, None if refs[1] is None else refs[1].planes, mode, mv)
        if not copied.all():
            patches = planes.to_patches(*made, OFFSET), planes.to_patches(*d, 0)
            wanted, given = copied == 0, self._latents(source, False)
            r, _ = self._residual(*patches, level_row(quality, place), skip, wanted, latents, **given)
            made = planes.deblock(planes.to_planes(r, KEY_SHIFT, 0, made, wanted), skip, quality)
        made = self._detailed(made, quality, source, latents)
        field = motion.Field(mode, mv, time, to)
        return Coded(time, made, quality, place, field, (skip, copied), exposure=exposure), latents


def _little(plane: np.ndarray) -> bytes:
    return plane.astype(plane.dtype.newbyteorder("<")).tobytes()


def rans_video(packing: int = 5, depth: int = 8) -> tuple[bytes, list[str]]:
    """A file that carries its model, and the MD5 of each frame: Y, U and V as shown, row by row, 16-bit little-endian
    numbers of more than 8 bits."""
    data = model_bytes(tiny_model())
    model: Model = model_of_bytes(data, NAME)
    descriptor = VideoDescriptor(
        WIDTH_OF - 3, HEIGHT_OF - 2, model.planes, packing, time_base=(1, 25), frame_rate=(25, 1), gop_seconds=0.4,
        source_pix_fmt="yuv420p" if depth == 8 else "yuv420p10le", bit_depth=depth, checks=True,
    )  # fmt: skip
    geometry = descriptor.geometry
    encoder = GopEncoder(Scripted(model, geometry.padded_height, geometry.padded_width), Effort(), intra=False)  # type: ignore[arg-type]
    clips: list[Clip] = []
    sums: list[str] = []

    def add(key: bool, payload: Callable[[Callable[[int, Coded], None]], bytes], count: int) -> None:
        first, pictures = len(sums), {}

        def done(number: int, coded: Coded) -> None:
            pictures[number] = shown(coded.planes, descriptor.height, descriptor.width, depth)

        packed = payload(done)
        checks = tuple(checksum(pictures[n]) for n in range(count))
        sums.extend(hashlib.md5(b"".join(_little(a) for a in pictures[n])).hexdigest() for n in range(count))
        clips.append(Clip(first, key, list(range(first, first + count)), [1] * count, None, packed, checks, 32))

    def key(quality: int) -> None:
        def payload(done: Callable[[int, Coded], None]) -> bytes:
            data, coded = encoder.key(len(sums), quality)  # type: ignore[arg-type]
            done(0, coded)
            return data

        add(True, payload, 1)

    def clip(structure: int, qualities: Sequence[int]) -> None:
        numbers = list(range(len(sums), len(sums) + len(qualities)))

        def payload(done: Callable[[int, Coded], None]) -> bytes:
            rest = encoder.anchors(numbers, ClipHead(structure, tuple(qualities)), done)  # type: ignore[arg-type]
            return rest(done)

        add(False, payload, len(qualities))

    key(60)
    clip(PYRAMID, (40, 33, 27, 27))  # qualities that fall from place to place
    clip(OLDER, (40, 30, 31))  # a quality for each frame
    clip(LONG_TERM, (42, 33, 30))
    clip(INTRA, (44, 34, 31))
    key(104)  # better than the networks know
    clip(CHAIN, (50, 110, 52))
    out = io.BytesIO()
    head = Header(NAME, model.sha256, "make_vectors")
    with LvzWriter(out, head, descriptor, model_chunk=ModelChunk(MODEL_WHOLE, data)) as writer:
        for c in clips:
            writer.write_clip(c)
    return out.getvalue(), sums


# --- model files with a flaw ------------------------------------------------------------------------------------------


def small_model() -> p.Model:
    """Three layers and tables: what the bad ones are made of."""
    b = _Builder()
    b.program.inputs = [b.tensor(p.S16, 3, 4)]
    first = b.conv(b.program.inputs, p.U7, 4, p.POINT, 6)
    depthwise = p.Weights(spread((9, 4), 60, 1).astype(np.int8), np.zeros((1, 4), np.int32), np.full(4, 5, np.uint8))
    second = b.tensor(p.S16, 3, 4)
    b.program.layers.append(p.Layer(p.DEPTHWISE, second, [p.Source(first)], 4, add=0, parts=[depthwise]))
    third = b.tensor(p.S16, 3, 4)
    gain = spread((2, 4), 900, 3).astype(np.int16)
    shift = np.array([7, 8], np.uint8)
    b.program.layers.append(p.Layer(p.GAIN, third, [p.Source(second)], 4, gain=gain, gain_shift=shift))
    b.program.outputs = [third]
    return p.Model(2, {"small": b.program}, _tables())


def _layer(model: p.Model, number: int) -> Any:
    return model.programs["small"].layers[number]


def _tensor(model: p.Model, number: int, **fields: Any) -> None:
    tensors = model.programs["small"].tensors
    tensors[number] = p.Tensor(**{**tensors[number].__dict__, **fields})


def _frequency(model: p.Model) -> None:
    assert model.tables is not None
    model.tables.frequencies[3] += 1


def _many(model: p.Model) -> None:
    model.programs["small"].tensors += [p.Tensor("", p.U7, 3, 1)] * 512


BAD_MODELS: dict[str, tuple[Callable[[p.Model], object], str, str]] = {
    "channels": (lambda m: _tensor(m, 1, channels=1025), "a tensor of 1025 channels", "CorruptError"),
    "scale": (lambda m: _tensor(m, 1, scale=8), "a tensor at scale 8", "CorruptError"),
    "weights": (lambda m: setattr(_layer(m, 0), "outputs", 5), "weights that do not fit", "CorruptError"),
    "shift": (lambda m: _layer(m, 0).parts[0].shift.__setitem__(0, 25), "a shift of 25", "CorruptError"),
    "gain-shift": (lambda m: _layer(m, 2).gain_shift.__setitem__(0, 25), "a gain's shift of 25", "CorruptError"),
    "overflow": (
        lambda m: _layer(m, 0).parts[0].bias.__setitem__((0, 0), (1 << 24) - 1), "a sum that could overflow",
        "CorruptError",
    ),
    "loop": (lambda m: setattr(_layer(m, 0), "sources", [p.Source(3)]), "a layer that reads the last", "CorruptError"),
    "itself": (lambda m: setattr(_layer(m, 0), "sources", [p.Source(1)]), "a layer that reads itself", "CorruptError"),
    "twice": (lambda m: setattr(_layer(m, 2), "out", 2), "a tensor written twice", "CorruptError"),
    "addend": (lambda m: setattr(_layer(m, 1), "add", 77), "an addend that is not there", "CorruptError"),
    "mode": (lambda m: setattr(_layer(m, 1), "mode", "down2"), "a convolution's mode in another layer", "CorruptError"),
    "levels": (lambda m: setattr(m, "levels", 3), "rows that do not divide the levels", "CorruptError"),
    "tables": (_frequency, "frequencies with the sum 65537", "CorruptError"),
    "tensors": (_many, "516 tensors", "LimitError"),
}  # fmt: skip


def bad_models() -> dict[str, tuple[bytes, str, str]]:
    """Name → file, what it shows, error class."""
    made = {}
    check = p.check
    for name, (spoil, shows, error) in BAD_MODELS.items():
        model = small_model()
        check(model)
        spoil(model)
        p.check = lambda model: None
        try:
            made[name] = model_bytes(model, "bad"), shows, error
        finally:
            p.check = check
    return made


# --- deltas -----------------------------------------------------------------------------------------------------------


def delta_of(base: bytes) -> bytes:
    """Changes every bias of `small_model`."""
    changes = {
        "small/0/0/bias": spread((4,), 300, 4).astype(np.int16), "small/1/0/bias": spread((4,), 9, 5).astype(np.int16),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "d")
        write_delta(path, "adapted", base, changes, {})
        return path.read_bytes()


def _said(delta: bytes, **fields: Any) -> bytes:
    """A delta that says something else of itself."""
    header, arrays = _parted(delta)
    said = json.loads(header["__metadata__"]["lvc.model"])
    said["delta"] |= fields
    header["__metadata__"]["lvc.model"] = json.dumps(said)
    return _joined(header, arrays)


def _entry(delta: bytes, name: str, **fields: Any) -> bytes:
    header, arrays = _parted(delta)
    header[fields.pop("called", name)] = header.pop(name) | fields
    return _joined(header, arrays)


def _parted(file: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def _joined(header: dict[str, Any], arrays: bytes) -> bytes:
    data = json.dumps(header, separators=(",", ":")).encode()
    return len(data).to_bytes(8, "little") + data + arrays


def deltas(base: bytes) -> dict[str, tuple[bytes, str, str | None]]:
    """Name → file, what it shows, error class; all of them for the same base."""
    good, bad = delta_of(base), "CorruptError"
    other, bias = "small/1/0/bias", "small/0/0/bias"
    moved = {"data_offsets": [1 << 20, (1 << 20) + 8]}
    return {
        "good": (good, "changes of every bias", None),
        "bad-makes": (_said(good, makes="0" * 64), "a delta that makes another model than it says", bad),
        "bad-base-text": (_said(good, base="no"), "no SHA-256 of its base", bad),
        "bad-name": (_entry(good, other, called="small/3/0/bias"), "an array that the base does not have", bad),
        "bad-part": (_entry(good, other, called="small/0/0/weight"), "weights", bad),
        "bad-shape": (_entry(good, bias, shape=[2, 2]), "biases with two dimensions", bad),
        "bad-count": (_entry(good, bias, shape=[3], data_offsets=[0, 6]), "biases for three of four outputs", bad),
        "bad-type": (_entry(good, bias, dtype="F16"), "biases that are floating-point numbers", bad),
        "bad-offset": (_entry(good, bias, **moved), "an array outside the file", bad),
        "bad-header": (good[:8] + b"[" + good[9:], "a header that is no object", bad),
        "unsupported-base": (_said(good, base="0" * 64), "a delta to another model", "UnsupportedError"),
        "unsupported-version": (_said(good, version=2), "version 2", "UnsupportedError"),
    }  # fmt: skip
