#!/usr/bin/env python3
"""A second decoder of lvc's own codec, written from `formats/decoder.md` alone: standard library, zstandard and numpy.

    python formats/lvz_decoder.py FILE [--model MODEL [--delta DELTA]]

Prints one MD5 a frame, of the planes that are shown (the bytes that its checksum covers), and compares the checksums.
`--model` names the model file of a video that does not carry it, or the one that a model in the file builds on;
`--delta` a delta that makes the video's model of it. It does not share a line with `lvc`, follows the order of the
document, and prefers being easy to compare with it to being fast: about a second for a frame of 352x288.

Exit codes: as lvz_reader.py has them.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
import math
import re
import sys
import zlib
from pathlib import Path

import lvz_reader
import numpy as np
from lvz_reader import CorruptError, LvzError, known, limit, need

FORMAT = Path(__file__).resolve().with_name("decoder.md")


def half(shift):
    return np.where(np.asarray(shift) > 0, 1 << np.maximum(np.asarray(shift, np.int64) - 1, 0), 0)


def rounded(x, shift):
    return (x + half(shift)) >> np.asarray(shift, np.int64)


def sat16(x):
    return np.clip(x, -32768, 32767)


def clamp(x, low, high):
    return min(max(x, low), high)


# --- section 1: samples -----------------------------------------------------------------------------------------------


def shown(planes, video):
    """Of three planes with 12 bits, the bytes of what is shown."""
    height, width = video["height"], video["width"]
    sizes = [(height, width), *[((height + 1) // 2, (width + 1) // 2)] * 2]
    out = b""
    for plane, (rows, columns) in zip(planes, sizes, strict=False):
        cropped = plane[:rows, :columns]
        if video["bit_depth"] == 8:
            out += np.minimum(255, (cropped + 8) >> 4).astype(np.uint8).tobytes()
        else:
            out += np.minimum(1023, (cropped + 2) >> 2).astype("<u2").tobytes()
    return out


# --- section 2: payload -----------------------------------------------------------------------------------------------


def read_key_payload(payload):
    need(payload, "a clip's payload is too short")
    need(payload[0] < 128, "quality")
    return payload[0], payload[1:]


def read_payload(payload, n, older):
    """`older`: there is an anchor -1. Steps in coding order, their qualities, one or two parts."""
    p = lvz_reader.Payload(payload)
    structure, first, fall = p.u8(), p.u8(), p.u8()
    known(structure < 5, "structure of a clip")
    known(fall < 130, "qualities of a clip")
    steps = pyramid(structure, n, older)
    places = [place for _, place, _ in steps]
    if fall < 128:
        qualities = [max(0, first - ((fall * min(k, 4) + 4) >> 3)) for k in places]
    elif fall == 128:
        by_place = [first, *p.bytes(max(places))]
        qualities = [by_place[k] for k in places]
    else:
        qualities = [first, *p.bytes(n - 1)]
    need(max(qualities) < 128, "quality")
    if structure == 1 or n == 1:
        return steps, qualities, [p.bytes(p.left())]
    anchor = p.bytes(p.uvarint())
    return steps, qualities, [anchor, p.bytes(p.left())]


# --- section 3: pyramid -----------------------------------------------------------------------------------------------


def pyramid(structure, n, older):
    """[(frame, place, references)] in coding order."""
    if structure == 1:
        return [(k, 0, [k - 1]) for k in range(1, n + 1)]
    second = {2: [-1], 4: [-2]}.get(structure, []) if older else []
    steps = [(n, 0, [] if structure == 3 else [0, *second])]
    intervals, place = [(0, n)], 1
    while intervals := [(a, b) for a, b in intervals if b - a > 1]:
        steps += [((a + b) // 2, place, [a, b]) for a, b in intervals]
        intervals = [part for a, b in intervals for part in ((a, (a + b) // 2), ((a + b) // 2, b))]
        place += 1
    return steps


# --- section 4: entropy coding ----------------------------------------------------------------------------------------


class Stream:
    def __init__(self, data):
        self.data, self.at, self.over = data, 4, False
        need(len(data) >= 4 and len(data) % 2 == 0, "an entropy-coded part is too short")
        self.state = int.from_bytes(data[:4], "little")
        need(self.state >= 1 << 16, "an entropy-coded part's state")

    def take(self, start, freq):
        self.state = freq * (self.state >> 16) + (self.state & 65535) - start
        if self.state < 1 << 16:
            self.over |= self.at + 2 > len(self.data)
            self.state = self.state << 16 | int.from_bytes(self.data[self.at : self.at + 2], "little")
            self.at += 2

    def flag(self, contexts, index):
        quick, slow, count = contexts[index]
        one = clamp((quick + slow) >> 1, 32, 65504)
        a, b = (3, 3) if count < 2 else (4, 4) if count < 8 else (4, 5) if count < 32 else (5, 6)
        bit = self.state & 65535 < one
        if bit:
            self.take(0, one)
            quick, slow = quick + ((65535 - quick) >> a), slow + ((65535 - slow) >> b)
        else:
            self.take(one, 65536 - one)
            quick, slow = quick - (quick >> a), slow - (slow >> b)
        contexts[index] = quick, slow, min(count + 1, 32)
        return int(bit)

    def raw(self, n):
        if n == 0:
            return 0
        value = (self.state & 65535) >> (16 - n)
        self.take(value << (16 - n), 1 << (16 - n))
        return value

    def golomb(self, k):
        base, b = 0, k
        while b < 20 and self.raw(1):
            base, b = base + (1 << b), b + 1
        upper = self.raw(b - 16) if b > 16 else 0
        return base + (upper << min(b, 16)) + self.raw(min(b, 16))

    def symbol(self, tables, i):
        if i == 0:
            return 0
        starts = tables[i]
        reach = (len(starts) - 3) // 2
        s = bisect.bisect_right(starts, self.state & 65535) - 1
        self.take(starts[s], starts[s + 1] - starts[s])
        if s <= 2 * reach:
            return s - reach
        negative = self.raw(1)
        size = min(reach + 1 + self.golomb(2), 2047)
        return -size if negative else size

    def end(self):
        need(not self.over and self.at == len(self.data) and self.state == 1 << 16, "an entropy-coded part is damaged")


# --- section 5: motion fields -----------------------------------------------------------------------------------------

CONTEXTS = {
    "split": (3, 3, 3, 3), "merge": (4, 3, 3, 3), "index": (5, 3, 4, 3), "both": (4, 3), "second": (3,), "guess": (4,),
    "x": (4,), "y": (4, 3), "class": (2, 4, 12), "skip": (4, 3, 3, 3), "copy": (4, 3, 3, 3),
    "exposure": (),
}  # fmt: skip
FIRST = {
    kind: sum(math.prod(sizes) for sizes in list(CONTEXTS.values())[:i]) for i, kind in enumerate(CONTEXTS)
}  # fmt: skip


def start_of_contexts(table=0):
    """Section 11, from the document itself: of motion and flags, or of the detail."""
    text = FORMAT.read_text("utf-8").split("## 11 ")[-1]
    numbers = [int(n) for n in re.findall(r"```text\n(.*?)```", text, re.S)[table].split()]
    need(len(numbers) == (258 if table else sum(map(math.prod, CONTEXTS.values()))), "the tables of section 11")
    return [(n, n, 0) for n in numbers]


def context(kind, *indices):
    at = 0
    for index, size in zip(indices, CONTEXTS[kind], strict=True):
        at = at * size + index
    return FIRST[kind] + at


@dataclasses.dataclass
class Decoded:
    """A frame to predict from. `field` and what follows: of predicted frames."""

    planes: list
    time: int
    field: list | None = None
    """[rows][columns] of (mode, vector 0, vector 1)."""
    times: list = dataclasses.field(default_factory=list)
    flags: tuple | None = None
    exposure: tuple = (64, 0)


def scaled(v, a, b):
    size = (2 * abs(v * a) + abs(b)) // (2 * abs(b))
    return clamp(-size if (v * a < 0) != (b < 0) else size, -4095, 4095)


def read_exposure(stream, contexts, references):
    """Sections 5 and 7: a gain in 64ths and an offset, beside the key frame."""
    a, b = references[0].exposure, references[-1].exposure
    found = [(p + q + 1) >> 1 for p, q in zip(a, b, strict=True)]
    if stream.flag(contexts, context("exposure")):
        for i, order in enumerate((1, 3)):
            size = stream.golomb(order)
            found[i] += -size if size and stream.raw(1) else size
    need(32 <= found[0] <= 128 and abs(found[1]) <= 1023, "an exposure is out of range")
    return tuple(found)


def exposed(reference, exposure):
    """Section 7: a reference's planes at another exposure."""
    (gain, offset), (own_gain, own_offset) = exposure, reference.exposure
    g = (256 * gain + own_gain // 2) // own_gain
    o = 4 * offset - ((g * 4 * own_offset + 128) >> 8)
    luma, *chroma = (p.astype(np.int64) for p in reference.planes)
    planes = [((luma * g + 128) >> 8) + o, *((((c - 2048) * g + 128) >> 8) + 2048 for c in chroma)]
    return [np.clip(p, 0, 4095) for p in planes]


class FieldReader:
    def __init__(self, stream, contexts, rows, columns, time, references, place):
        self.stream, self.contexts, self.rows, self.columns = stream, contexts, rows, columns
        self.time, self.references, self.level = time, references, min(place, 2)
        self.two = len(references) == 2
        self.motion = [[None] * columns for _ in range(rows)]
        self.size = [[0] * columns for _ in range(rows)]
        self.explicit = [[False] * columns for _ in range(rows)]

    def read(self):
        for y in range(0, self.rows, 8):
            for x in range(0, self.columns, 8):
                self.square(y, x, 8)
        return self.motion

    def flag(self, kind, *indices):
        return self.stream.flag(self.contexts, context(kind, *indices))

    def known(self, y, x):
        return 0 <= y < self.rows and 0 <= x < self.columns and self.motion[y][x] is not None

    def beside(self, y, x):
        return [(b, a) for b, a in ((y, x - 1), (y - 1, x)) if self.known(b, a)]

    def square(self, y, x, n):
        if y >= self.rows or x >= self.columns:
            return
        inside = y + n <= self.rows and x + n <= self.columns
        if n == 1 or inside and not self.flag("split", 3 - n.bit_length() + 1, self.smaller(y, x, n),
                                              self.not_one(y, x, n), self.level):  # fmt: skip
            self.leaf(y, x, n)
            return
        for dy in (0, n // 2):
            for dx in (0, n // 2):
                self.square(y + dy, x + dx, n // 2)

    def smaller(self, y, x, n):
        return sum(self.size[b][a] < n for b, a in self.beside(y, x))

    def not_one(self, y, x, n):
        fields = [r.field for r in self.references if r.field is not None]
        return sum(len({m for row in f[y : y + n] for m in row[x : x + n]}) > 1 for f in fields)

    def temporal(self, reference, y, x, n):
        if reference.field is None:
            return None
        mode, *vectors = reference.field[min(y + n // 2, self.rows - 1)][min(x + n // 2, self.columns - 1)]
        if mode == 2:
            same_side = (reference.times[0] < reference.time) == (self.time < reference.time)
            mode = 0 if same_side else 1
        v, t = vectors[mode], reference.times[mode] - reference.time
        found = [tuple(scaled(c, r.time - self.time, t) for c in v) for r in self.references]
        return (2, *found) if self.two else (0, found[0], (0, 0))

    def candidates(self, y, x, n):
        """[motion, how often it was offered]."""

        def at(b, a):
            return self.motion[b][a] if self.known(b, a) else None

        offers = [
            at(y + n - 1, x - 1), at(y - 1, x + n - 1),
            self.temporal(self.references[1], y, x, n) if self.two else None, at(y - 1, x + n),
            self.temporal(self.references[0], y, x, n), at(y + n, x - 1), (2 if self.two else 0, (0, 0), (0, 0)),
            at(y - 1, x - 1),
        ]  # fmt: skip
        found = {}
        for motion in offers:
            if motion is not None and (motion in found or len(found) < 6):
                found[motion] = found.get(motion, 0) + 1
        return list(found.items())

    def leaf(self, y, x, n):
        log2, found, beside = n.bit_length() - 1, self.candidates(y, x, n), self.beside(y, x)
        explicit = sum(self.explicit[b][a] for b, a in beside)
        merges = self.flag("merge", log2, explicit, min(found[0][1], 3) - 1, self.level)
        if merges:
            k = 0
            while k + 1 < len(found) and self.flag("index", k, min(found[k][1], 3) - 1, log2, self.level):
                k += 1
            motion = found[k][0]
        else:
            modes = [self.motion[b][a][0] for b, a in beside]
            mode = 0
            if self.two:
                if self.flag("both", log2, modes.count(2)):
                    mode = 2
                else:
                    mode = self.flag("second", clamp(1 + modes.count(1) - modes.count(0), 0, 2))
            used = [mode in (r, 2) for r in (0, 1)]
            motion = (mode, *(self.vector(r, found) if used[r] else (0, 0) for r in (0, 1)))
        for b in range(y, y + n):
            for a in range(x, x + n):
                self.motion[b][a], self.size[b][a], self.explicit[b][a] = motion, n, not merges

    def vector(self, r, found):
        guesses = list(dict.fromkeys(m[1 + r] for m, _ in found if m[0] in (r, 2)))[:2] or [(0, 0)]
        spreads = [0, 0]
        if len(guesses) == 2:
            apart = [abs(p - q) for p, q in zip(*guesses, strict=False)]
            spreads = [1 if d <= 2 else 2 if d <= 12 else 3 for d in apart]
        guess = guesses[self.flag("guess", max(spreads))] if len(guesses) == 2 else guesses[0]
        dx = self.difference(0, spreads[0], ("x", spreads[0]))
        dy = self.difference(1, spreads[1], ("y", spreads[1], min(abs(dx), 2)))
        vector = guess[0] + dx, guess[1] + dy
        need(max(map(abs, vector)) <= 4095, "a vector is too long")
        return vector

    def difference(self, axis, spread, not_zero):
        if not self.flag(*not_zero):
            return 0
        c = 0
        while c < 12 and self.flag("class", axis, spread, c):
            c += 1
        size = (1 << c) + self.stream.raw(c)
        return -size if self.stream.raw(1) else size


# --- section 6: flags -------------------------------------------------------------------------------------------------


def read_flags(reader, place):
    rows, columns = reader.rows // 2, reader.columns // 2
    flags = np.zeros((2, rows, columns), int)
    for y in range(rows):
        for x in range(columns):
            size = clamp(reader.size[2 * y][2 * x].bit_length(), 1, 3) - 1
            for i, kind in enumerate(("skip", "copy")):
                near = flags[i, y, x - 1] if x else 0
                if y:
                    near += flags[i, y - 1, x] + flags[i, y - 1, min(x + 1, columns - 1)]
                below = sum(r.flags[i][y, x] for r in reader.references if r.flags is not None)
                flags[i, y, x] = reader.flag(kind, int(near), int(below), size, min(place, 2))
                if not flags[i, y, x]:
                    break
    return flags


# --- section 7: prediction --------------------------------------------------------------------------------------------

LUMA = np.array([[0, 0, 0, 64, 0, 0, 0, 0], [-1, 4, -10, 58, 17, -5, 1, 0], [-1, 4, -11, 40, 40, -11, 4, -1],
                 [0, 1, -5, 17, 58, -10, 4, -1]])  # fmt: skip
CHROMA = np.array([[0, 64, 0, 0], [-2, 58, 10, -2], [-4, 54, 16, -2], [-6, 46, 28, -4], [-4, 36, 36, -4],
                   [-4, 28, 46, -6], [-2, 16, 54, -4], [-2, 10, 58, -2]])  # fmt: skip


def windows(plane, vectors, n):
    """[blocks, 3n/2, 3n/2] of one reference's plane, of blocks with n samples a side (8 luma, 4 chroma)."""
    filters, own, bits = (LUMA, 3, 2) if n == 8 else (CHROMA, 1, 3)
    taps, side, reach = filters.shape[1], n + n // 2, n // 4
    rows, columns = vectors.shape[:2]
    ys = n * np.arange(rows)[:, None] + (vectors[..., 1] >> bits) - reach - own
    xs = n * np.arange(columns)[None] + (vectors[..., 0] >> bits) - reach - own
    span = np.arange(side + taps - 1)
    ys = np.clip(ys.reshape(-1, 1) + span, 0, plane.shape[0] - 1)
    xs = np.clip(xs.reshape(-1, 1) + span, 0, plane.shape[1] - 1)
    w = plane[ys[:, :, None], xs[:, None, :]]
    along = filters[(vectors & ((1 << bits) - 1)).reshape(-1, 2)]
    w = (sum(w[:, :, k : k + side] * along[:, 0, k, None, None] for k in range(taps)) + 32) >> 6
    w = (sum(w[:, k : k + side] * along[:, 1, k, None, None] for k in range(taps)) + 32) >> 6
    return np.clip(w, 0, 4095)


def overlapped(values, rows, columns, n):
    """A plane from the blocks' windows."""
    reach, ramp = n // 4, [1, 3, 5, 7] if n == 8 else [1, 3]
    middle = [n] * (n // 2) if n == 8 else [4] * 2

    def weights(count):
        w = np.tile(np.array([*ramp, *middle, *ramp[::-1]]), (count, 1))
        w[0, :reach] = w[-1, -reach:] = 0
        w[0, reach : 2 * reach] = w[-1, -2 * reach : -reach] = 8 if n == 8 else 4
        return w

    side = n + 2 * reach
    weight = weights(rows)[:, None, :, None] * weights(columns)[None, :, None, :]
    weighted = weight * values.reshape(rows, columns, side, side)
    total = np.zeros((n * (rows + 1), n * (columns + 1)), np.int64)
    for dy in range(side):
        for dx in range(side):
            total[dy : dy + n * rows : n, dx : dx + n * columns : n] += weighted[:, :, dy, dx]
    total = total[reach : reach + n * rows, reach : reach + n * columns]
    return (total + 32) >> 6 if n == 8 else (total + 8) >> 4


def predicted_planes(motion, references):
    """Three planes of the prediction P, three of the difference D."""
    mode = np.array([[m[0] for m in row] for row in motion])
    rows, columns = mode.shape
    vectors = [np.array([[m[1 + r] for m in row] for row in motion]) for r in range(len(references))]
    prediction, difference = [], []
    which = mode.reshape(-1, 1, 1)
    for i, n in enumerate((8, 4, 4)):
        w = [windows(r.planes[i], v, n) for r, v in zip(references, vectors, strict=False)]
        w0, w1 = w[0], w[-1]
        value = np.where(which == 2, (w0 + w1 + 1) >> 1, np.where(which == 1, w1, w0))
        prediction.append(overlapped(value, rows, columns, n))
        difference.append(overlapped(np.where(which == 2, w0 - w1, 0), rows, columns, n))
    return prediction, difference


# --- section 8: model files -------------------------------------------------------------------------------------------

DTYPES = {"I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4"}
OPS, MODES = ("conv", "depthwise", "block", "gain", "hyper", "code"), ("point", "down2", "up2", "down3")
TAPS, MOVE = {"point": 1, "down2": 4, "up2": 1, "down3": 9}, {"point": 0, "down2": 1, "up2": -1, "down3": 1}
LAYER_FIELDS = {
    "op", "out", "outputs", "mode", "wide", "limit", "step", "leaky", "zero", "high", "add", "zeros", "gate_shift",
    "sources",
}  # fmt: skip
SQUARE = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]])


def read_model(data):
    """{"levels", "tables", "laps", "programs"}; layers have their arrays as `parts`, `gain` and so on."""
    limit(len(data), 64 << 20, "bytes of a model")
    try:
        size = int.from_bytes(data[:8], "little")
        need(len(data) >= 8 and size <= len(data) - 8, "a model is too short")
        header = json.loads(data[8 : 8 + size])
        said = json.loads(header.pop("__metadata__")["lvc.programs"])
        known(said["version"] == 1, "version of a model")
        arrays = {name: read_array(data[8 + size :], entry) for name, entry in header.items()}
        return checked_model(said, arrays)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptError(f"a model is damaged: {error!r}") from error


def apply_delta(delta, base):
    """The bytes of the model's file that a delta makes of its base."""
    limit(len(delta), 100_000, "bytes of a delta")
    try:
        size = int.from_bytes(delta[:8], "little")
        header = json.loads(delta[8 : 8 + size])
        said = json.loads(header.pop("__metadata__")["lvc.model"])["delta"]
        known(said["version"] == 1, "version of a delta")
        need(all(re.fullmatch("[0-9a-f]{64}", said[name]) for name in ("base", "makes")), "a delta's hashes")
        known(hashlib.sha256(base).hexdigest() == said["base"], "the delta's base")
        start = 8 + int.from_bytes(base[:8], "little")
        of_base = json.loads(base[8:start])
        made = bytearray(base)
        for name, entry in header.items():
            change = read_array(delta[8 + size :], entry)
            need(name.endswith("/bias") and name in of_base, "an array of a delta")
            whole = read_array(base[start:], of_base[name])
            need(whole.ndim == 2 and change.shape == whole.shape[1:], "an array of a delta does not fit")
            need(change.dtype == np.int16 and whole.dtype == np.int32, "a delta's biases")
            shift = read_array(base[start:], of_base[name[:-4] + "shift"])
            moved = whole + change.astype(np.int64) * 2 ** np.maximum(shift.astype(np.int64) - 2, 0)
            most = (1 << 31) - 1
            at = start + of_base[name]["data_offsets"][0]
            made[at : at + whole.nbytes] = np.clip(moved, -most, most).astype(whole.dtype).tobytes()
        need(hashlib.sha256(made).hexdigest() == said["makes"], "a delta makes another model than it says")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CorruptError(f"a delta is damaged: {error!r}") from error
    return bytes(made)


def read_array(data, entry):
    start, end = entry["data_offsets"]
    dtype, shape = np.dtype(DTYPES[entry["dtype"]]), entry["shape"]
    need(all(type(n) is int and n >= 0 for n in (start, end, *shape)), "an array's shape")
    need(start <= end <= len(data) and end - start == dtype.itemsize * math.prod(shape), "an array's size")
    return np.frombuffer(data[start:end], dtype).reshape(shape)


def within(value, low, high):
    need(type(value) is int and low <= value <= high, f"{value!r} in a model is not {low} … {high}")


def shaped(array, dtype, *shape):
    need(array.dtype == np.dtype(dtype) and array.shape == shape, "an array of a model does not fit")


def checked_model(said, arrays):
    within(said["levels"], 1, 1024)
    limit(len(said["programs"]), 16, "programs of a model")
    model = {"levels": said["levels"], "tables": None, "laps": None, "programs": said["programs"]}
    if "tables/reach" in arrays:
        model["tables"] = read_tables(arrays["tables/reach"], arrays["tables/frequencies"])
    if "laps/luma" in arrays:
        model["laps"] = arrays["laps/luma"].astype(np.int64), arrays["laps/chroma"].astype(np.int64)
        shaped(arrays["laps/luma"], "<i2", 16, 16)
        shaped(arrays["laps/chroma"], "<i2", 8, 8)
        for lap in model["laps"]:
            need((np.abs(lap).sum(0) * 32768 + 8192 < 1 << 31).all(), "a lapping matrix could overflow")
    for name, program in model["programs"].items():
        check_program(name, program, arrays, model)
    return model


def read_tables(reaches, frequencies):
    shaped(reaches, "<u2", 64)
    need((reaches[1:] >= 1).all() and (reaches[1:] <= 2046).all(), "a table's reach")
    sizes = 2 * reaches[1:].astype(int) + 2
    shaped(frequencies, "<u4", int(sizes.sum()))
    need((frequencies >= 1).all() and (frequencies <= 65536).all(), "a table's frequencies")
    tables = [None]
    for row in np.split(frequencies.astype(np.int64), np.cumsum(sizes)[:-1]):
        tables.append([0, *np.cumsum(row).tolist()])
        need(tables[-1][-1] == 65536, "a table's sum")
    return tables


def check_program(name, program, arrays, model):
    tensors, layers = program["tensors"], program["layers"]
    limit(len(layers), 256, "layers of a program")
    limit(len(tensors), 512, "tensors of a program")
    for _, kind, scale, channels in tensors:
        need(kind in ("u7", "s16"), "kind of a tensor")
        within(scale, 3, 7)
        within(channels, 1, 1024)
    for i in program["inputs"] + program["outputs"]:
        within(i, 0, len(tensors) - 1)
    written, macs = set(program["inputs"]), 0.0
    need(len(written) == len(program["inputs"]), "an input comes twice")
    for i, layer in enumerate(layers):
        need(LAYER_FIELDS <= layer.keys(), "a layer lacks a field")
        need(all(type(layer[key]) is int for key in ("limit", "add", "gate_shift")), "a layer's field is no integer")
        layer["parts"] = []
        while f"{name}/{i}/{len(layer['parts'])}/weight" in arrays and len(layer["parts"]) < 5:
            at = f"{name}/{i}/{len(layer['parts'])}/"
            layer["parts"].append([arrays[at + key] for key in ("weight", "bias", "shift")])
        for key in ("gain", "gain_shift", "tables"):
            layer[key] = arrays.get(f"{name}/{i}/{key}")
        check_layer(layer, layers[:i], program, written, model)
        written.add(layer["out"])
        macs += multiplications(layer, tensors)
    need(written.issuperset(program["outputs"]), "an output is not written")
    limit(macs, 4_000_000, "multiplications of a program")
    limit(live_bytes(program), 16384, "bytes of a program")


def multiplications(layer, tensors):
    op, c, mode = layer["op"], layer["outputs"], layer["mode"]
    up = op == "conv" and mode == "up2"
    area = 4.0 ** (3 - tensors[layer["out"]][2] - up)
    if op == "block":
        return area * (5 * c * c + 9 * c)
    if op == "depthwise":
        return area * 9 * c
    if op != "conv":
        return area * c
    inputs = TAPS[mode] * sum(tensors[t][3] for t, _, _ in layer["sources"])
    return area * inputs * c * (4 if up else 0.25 if layer["step"] >= 0 else 1)


def live_bytes(program):
    """The most that tensors take while any layer runs; channels are padded to 32."""
    layers = program["layers"]
    first = dict.fromkeys(program["inputs"], 0)
    last = dict.fromkeys(program["outputs"], len(layers))
    for i, layer in enumerate(layers):
        first.setdefault(layer["out"], i)
        for t in [layer["out"], layer["add"], *(s[0] for s in layer["sources"])]:
            last[t] = max(last.get(t, 0), i)
    sizes = [(c + 31) // 32 * 32 * (2 if kind == "s16" else 1) * 4.0 ** (3 - s) for _, kind, s, c in program["tensors"]]
    return max(
        sum(sizes[t] for t in first if first[t] <= i <= last.get(t, 0)) for i in range(len(layers) + 1)
    )  # fmt: skip


def check_layer(layer, before, program, written, model):
    tensors, op, c = program["tensors"], layer["op"], layer["outputs"]
    need(op in OPS, "kind of a layer")
    need(op == "conv" or (layer["mode"] == "point" and not layer["wide"]), "a convolution's mode in another layer")
    within(layer["out"], 0, len(tensors) - 1)
    within(len(layer["sources"]), 0 if op == "hyper" else 1, 8)
    for t, shift, zero in layer["sources"]:
        need(type(t) is int and t in written, "a layer reads what is not written")
        within(shift, 0, 8)
        within(zero, 0, 127)
    for value, low, high in ((c, 1, 1024), (layer["zero"], 0, 127), (layer["high"], 0, 127), (layer["step"], -1, 3)):
        within(value, low, high)
    _, kind, scale, channels = tensors[layer["out"]]
    sources = [tensors[s[0]][1:] for s in layer["sources"]]
    if op == "code":
        shape = [scale, channels // 4]
        need(model["tables"] is not None and len(sources) == 2 and layer["add"] < 0, "`code` without tables")
        need([kind, scale, channels % 4, c] == ["s16", 4, 0, channels], "latents do not fit")
        need(sources == [["s16", *shape], ["u7", *shape]], "means and indices do not fit")
        need(layer["out"] not in program["inputs"], "latents do not fit")
        steps = [(o["op"], o["step"]) for o in [*before, layer] if o["out"] == layer["out"]]
        need(steps == [("code", s) for s in range(len(steps))] and len(steps) <= 4, "steps out of order")
        index = [o for o in before if o["out"] == layer["sources"][1][0]]
        need(index and index[0]["op"] == "conv" and index[0]["high"] <= 63, "indices may name no table")
        return
    need(layer["out"] not in written, "a tensor is written twice")
    step = layer["step"] >= 0
    need(not step or (op == "conv" and layer["mode"] == "point" and c % 4 == 0), "a step in a layer without")
    need(channels == (c // 4 if step else c), "outputs do not fit")
    if layer["add"] >= 0:
        need(op in ("conv", "depthwise", "gain") and layer["add"] in written and kind == "s16", "addend")
        need(tensors[layer["add"]][1:] == [kind, scale, channels], "addend")
    levels = model["levels"]

    def rows(array):
        need(array.ndim == 2 and len(array) > 0 and levels % len(array) == 0, "rows by level")

    def sums(part, shape, axis, outputs, single=False, wide=False):
        weight, bias, shift = part
        shaped(weight, "<i2" if wide else "i1", *shape)
        rows(bias)
        shaped(bias, "<i4", 1 if single else len(bias), outputs)
        shaped(shift, "u1", outputs)
        within(int(shift.max()), 0, 24)
        largest, bound = (layer["limit"], 1 << 31) if wide else (127, 1 << 24)
        total = np.abs(weight.astype(np.int64)).sum(axis) * largest + np.abs(bias.astype(np.int64)).max(0)
        need((total + half(shift) < bound).all(), "a sum could overflow")

    parts = layer["parts"]
    if op == "conv":
        need(layer["mode"] in MODES and len(parts) == 1, "a convolution's mode")
        need(all(s[1] + MOVE[layer["mode"]] == scale for s in sources), "scales do not fit")
        need(not layer["wide"] or all(k == "s16" for k in (kind, *(s[0] for s in sources))), "a wide layer of u7")
        within(layer["limit"], 1, 32767)
        inputs = TAPS[layer["mode"]] * sum(s[2] for s in sources)
        outputs = c * (4 if layer["mode"] == "up2" else 1)
        sums(parts[0], (outputs, inputs), 1, outputs, wide=layer["wide"])
    elif op == "depthwise":
        need(sources == [["u7", scale, channels]] and len(parts) == 1, "a depthwise layer does not fit")
        sums(parts[0], (9, c), 0, c, single=True)
    elif op == "block":
        need(len(sources) == 2 and len(parts) == 5 and len(layer["zeros"]) == 3, "a block does not fit")
        need(layer["sources"][0][0] == layer["sources"][1][0], "a block with two trunks")
        need(sources[0] == ["s16", scale, c] and kind == "s16", "a block does not fit")
        for zero in layer["zeros"]:
            within(zero, 0, 127)
        within(layer["gate_shift"], 0, 14)
        for part, outputs in zip(parts, (c, 0, c, 2 * c, c), strict=True):
            sums(part, (outputs, c) if outputs else (9, c), 1 if outputs else 0, outputs or c, single=True)
    elif op == "gain":
        need(sources == [["s16", scale, channels]] and kind == "s16", "a gain does not fit")
        rows(layer["gain"])
        shaped(layer["gain"], "<i2", len(layer["gain"]), channels)
        shaped(layer["gain_shift"], "u1", len(layer["gain"]))
        within(int(layer["gain_shift"].max()), 0, 24)
    else:
        need(model["tables"] is not None and not sources and kind == "s16" and scale > 3, "`hyper` does not fit")
        rows(layer["tables"])
        shaped(layer["tables"], "u1", len(layer["tables"]), channels)
        need(int(layer["tables"].max()) < 64, "there is no such table")


# --- section 9: layers ------------------------------------------------------------------------------------------------


class Run:
    def __init__(self, model, name, inputs, rows, columns, level, stream, coded):
        """Rows and columns at 1/8; `coded` [rows/2, columns/2]."""
        self.program, self.tables = model["programs"][name], model["tables"]
        self.tensors, self.size = self.program["tensors"], (rows, columns)
        self.level, self.stream, self.coded = level, stream, coded
        need(len(self.program["inputs"]) == len(inputs), "a program's inputs")
        self.values = {}
        for i, x in zip(self.program["inputs"], inputs, strict=False):
            need(x.shape == (*self.size_of(i), self.tensors[i][3]), "a program's inputs")
            self.values[i] = x

    def first_output(self):
        for layer in self.program["layers"]:
            self.values[layer["out"]] = getattr(self, layer["op"])(layer)
        return self.values[self.program["outputs"][0]]

    def size_of(self, tensor):
        by = 1 << (self.tensors[tensor][2] - 3)
        return tuple(-(-n // by) for n in self.size)

    def read(self, layer, source):
        t, shift, zero = source
        x = self.values[t]
        if self.tensors[t][1] == "u7":
            return x
        x = rounded(x, shift)
        return np.clip(x, -layer["limit"], layer["limit"]) if layer["wide"] else np.clip(x + zero, 0, 127)

    def product(self, x, part):
        weight, bias, shift = part
        # Sums stay below 2^31, so doubles are exact.
        total = (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.int64)
        return sat16(rounded(total + bias[self.level % len(bias)], shift))

    def written(self, v, layer):
        if layer["leaky"]:
            v = np.where(v < 0, v >> 3, v)
        if self.tensors[layer["out"]][1] == "u7":
            return np.clip(v + layer["zero"], 0, layer["high"])
        return sat16(v + self.values[layer["add"]]) if layer["add"] >= 0 else v

    def conv(self, layer):
        rows, columns = self.size_of(layer["out"])
        inputs = []
        for source in layer["sources"]:
            x = self.read(layer, source)
            if layer["mode"] in ("point", "up2"):
                inputs.append(x)
                continue
            side, before = (2, 0) if layer["mode"] == "down2" else (3, 1)
            for dy in range(side):
                for dx in range(side):
                    ys = np.clip(2 * np.arange(rows) + dy - before, 0, x.shape[0] - 1)
                    xs = np.clip(2 * np.arange(columns) + dx - before, 0, x.shape[1] - 1)
                    inputs.append(x[ys][:, xs])
        v = self.product(np.concatenate(inputs, -1), layer["parts"][0])
        if layer["mode"] == "up2":
            out = np.zeros((2 * v.shape[0], 2 * v.shape[1], layer["outputs"]), np.int64)
            for i, part in enumerate(np.split(v, 4, -1)):
                out[i // 2 :: 2, i % 2 :: 2] = part
            v = out[:rows, :columns]
        if layer["step"] >= 0:
            which = quarters(layer["step"], rows, columns)
            v = np.choose(which[..., None], np.split(v, 4, -1))
        return self.written(v, layer)

    def depthwise(self, layer):
        x = self.filtered(self.values[layer["sources"][0][0]], layer["parts"][0], layer["sources"][0][2])
        return self.written(x, layer)

    def filtered(self, x, part, zero):
        weight, bias, shift = part
        rows, columns, _ = x.shape
        x = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=zero)
        total = sum(x[i // 3 : i // 3 + rows, i % 3 : i % 3 + columns] * weight[i].astype(np.int64) for i in range(9))
        return sat16(rounded(total + bias[0], shift))

    def block(self, layer):
        a, d, b, f, g = layer["parts"]
        first, second = layer["sources"]
        t = self.values[first[0]]

        def leaky(v):
            return np.where(v < 0, v >> 3, v)

        x = np.clip(leaky(self.product(self.read(layer, first), a)) + layer["zeros"][0], 0, 127)
        x = np.clip(self.filtered(x, d, layer["zeros"][0]) + layer["zeros"][1], 0, 127)
        t = sat16(t + self.product(x, b))
        x = np.clip(rounded(t, second[1]) + second[2], 0, 127)
        u, v = np.split(self.product(x, f), 2, -1)
        gated = np.clip(leaky(u), -128, 127) * np.clip(v, -128, 127)
        x = np.clip(rounded(gated, layer["gate_shift"]) + layer["zeros"][2], 0, 127)
        return sat16(t + self.product(x, g))

    def gain(self, layer):
        row = self.level % len(layer["gain"])
        v = self.values[layer["sources"][0][0]] * layer["gain"][row].astype(np.int64)
        v = rounded(v, layer["gain_shift"][row])
        return sat16(v + self.values[layer["add"]] if layer["add"] >= 0 else v)

    def hyper(self, layer):
        rows, columns = self.size_of(layer["out"])
        by = 1 << (self.tensors[layer["out"]][2] - 4)
        tables = layer["tables"][self.level % len(layer["tables"])].tolist()
        out = np.zeros((rows, columns, len(tables)), np.int64)
        for y in range(rows):
            for x in range(columns):
                if self.coded[y * by : (y + 1) * by, x * by : (x + 1) * by].any():
                    out[y, x] = [self.stream.symbol(self.tables, i) for i in tables]
        return out

    def code(self, layer):
        means, indices = (self.values[s[0]] for s in layer["sources"])
        rows, columns, quarter = means.shape
        out = self.values.get(layer["out"], np.zeros((rows, columns, 4 * quarter), np.int64)).copy()
        which = quarters(layer["step"], rows, columns)
        for y, x in zip(*np.nonzero(self.coded), strict=False):
            symbols = np.array([self.stream.symbol(self.tables, i) for i in indices[y, x].tolist()])
            at = which[y, x] * quarter
            out[y, x, at : at + quarter] = sat16(16 * symbols + means[y, x])
        return out


def quarters(step, rows, columns):
    return SQUARE[step][2 * (np.arange(rows)[:, None] & 1) + (np.arange(columns)[None] & 1)]


# --- section 10: frames -----------------------------------------------------------------------------------------------


def to_patches(planes, offset):
    parts = []
    for plane, n in zip(planes, (8, 4, 4), strict=False):
        rows, columns = plane.shape[0] // n, plane.shape[1] // n
        parts.append(plane.reshape(rows, n, columns, n).transpose(0, 2, 1, 3).reshape(rows, columns, n * n))
    return np.concatenate(parts, -1).astype(np.int64) - offset


def to_planes(patches):
    rows, columns, _ = patches.shape
    planes = []
    for part, n in zip(np.split(patches, (64, 80), -1), (8, 4, 4), strict=False):
        planes.append(part.reshape(rows, columns, n, n).transpose(0, 2, 1, 3).reshape(rows * n, columns * n))
    return planes


def lapped(plane, lap):
    """Along rows, then along columns."""
    n = len(lap)
    for _ in range(2):
        plane = plane.copy()
        inner = plane[:, n // 2 : -(n // 2)]
        groups = inner.reshape(len(plane), -1, n) @ lap
        plane[:, n // 2 : -(n // 2)] = sat16((groups + 8192) >> 14).reshape(inner.shape)
        plane = plane.T
    return plane


def decode_key(model, q, stream, rows, columns, time, exposure=(64, 0)):
    blocks = np.ones((rows // 2, columns // 2), bool)
    patches = Run(model, "key", [], rows, columns, min(q, 96), stream, blocks).first_output()
    luma, chroma = model["laps"]
    planes = [lapped(p, lap) for p, lap in zip(to_planes(patches), (luma, chroma, chroma), strict=False)]
    planes = [np.clip(2040 + ((p + 4) >> 3), 0, 4095) for p in planes]
    add_detail(planes, q, stream)
    return Decoded(planes, time, exposure=exposure)


def decode_predicted(model, q, place, stream, contexts, time, references):
    rows, columns = (n // 8 for n in references[0].planes[0].shape)
    exposure = read_exposure(stream, contexts, references[: 1 if place == 0 else 2])
    references = [dataclasses.replace(r, planes=exposed(r, exposure)) for r in references]
    reader = FieldReader(stream, contexts, rows, columns, time, references, place)
    motion = reader.read()
    flags = read_flags(reader, place)
    planes, difference = predicted_planes(motion, references)
    if not flags[1].all():
        coded = flags[0] == 0
        level = 128 * min(place, 5) + min(q, 96)
        inputs = [to_patches(planes, 2040), to_patches(difference, 0), 127 * coded[..., None].astype(np.int64)]
        residual = to_planes(Run(model, "predicted", inputs, rows, columns, level, stream, coded).first_output())
        for i, n in enumerate((16, 8, 8)):
            copied = np.kron(flags[1], np.ones((n, n), int)) == 1
            sample = np.clip(planes[i] + ((residual[i] + 4) >> 3), 0, 4095)
            planes[i] = np.where(copied, planes[i], sample)
        planes = deblocked(planes, flags[0], q)
    add_detail(planes, q, stream)
    return Decoded(planes, time, motion, [r.time for r in references], tuple(flags), exposure)


THRESHOLDS = (245, 234, 224, 215, 206, 197, 189, 181, 173, 166, 159, 152, 145, 139, 133, 128)


def deblocked(planes, skip, q):
    """Section 10: edges between columns, then between rows."""
    t = THRESHOLDS[q % 16] >> (q // 16)
    coded = skip == 0
    for _ in range(2):
        planes = [across_columns(p, coded, 16 if i == 0 else 8, t).T for i, p in enumerate(planes)]
        coded = coded.T
    return planes


def across_columns(plane, coded, side, t):
    out = plane.copy()
    for x in range(8, plane.shape[1], 8):
        beside = np.repeat(coded[:, (x - 1) // side] | coded[:, x // side], side)
        p, q = ([plane[beside, x + k] for k in ks] for ks in (range(-1, -5, -1), range(4)))  # p[0] is next to the edge
        for k, value in (luma_edge if side == 16 else chroma_edge)(p, q, t).items():
            out[beside, x + k] = value
    return out


def chroma_edge(p, q, t):
    d = np.clip((4 * (q[0] - p[0]) + p[1] - q[1] + 4) >> 3, -t, t)
    return {-1: np.clip(p[0] + d, 0, 4095), 0: np.clip(q[0] - d, 0, 4095)}


def luma_edge(p, q, t):
    u, v = (abs(s[2] - 2 * s[1] + s[0]) for s in (p, q))
    flat = (u + v < t) & (abs(p[3] - p[0]) + abs(q[0] - q[3]) < t) & (2 * abs(p[0] - q[0]) < 5 * t)
    d = (9 * (q[0] - p[0]) - 3 * (q[1] - p[1]) + 8) >> 4
    weak = (u + v < 4 * t) & ~flat & (abs(d) < 10 * t)
    d = np.clip(d, -t, t)
    out = {}
    for own, other, sign, bend in ((p, q, 1, u), (q, p, -1, v)):
        smooth = [
            (own[2] + 2 * own[1] + 2 * own[0] + 2 * other[0] + other[1] + 4) >> 3,
            (own[2] + own[1] + own[0] + other[0] + 2) >> 2,
            (2 * own[3] + 3 * own[2] + own[1] + own[0] + other[0] + 4) >> 3,
        ]
        more = np.clip((((own[2] + own[0] + 1) >> 1) - own[1] + sign * d) >> 1, -(t >> 1), t >> 1)
        little = [own[0] + sign * d, own[1] + np.where(2 * bend < 3 * t, more, 0), own[2]]
        for k in range(3):
            strong = np.clip(smooth[k], own[k] - 2 * t, own[k] + 2 * t)
            value = np.where(flat, strong, np.where(weak, np.clip(little[k], 0, 4095), own[k]))
            out[-1 - k if sign == 1 else k] = value
    return out


STEPS = 2969, 2843, 2723, 2607, 2497, 2391, 2289, 2192, 2099, 2010, 1925, 1844, 1765, 1691, 1619, 1550
M = np.array(
    [
        [64, 64, 64, 64, 64, 64, 64, 64], [89, 75, 50, 18, -18, -50, -75, -89],
        [83, 36, -36, -83, -83, -36, 36, 83], [75, -18, -89, -50, 50, 89, 18, -75],
        [64, -64, -64, 64, 64, -64, -64, 64], [50, -89, 18, 75, -75, -18, 89, -50],
        [36, -83, 83, -36, -36, 83, -83, 36], [18, -50, 75, -89, 89, -75, 50, -18],
    ]
)  # fmt: skip


def zigzag():
    """Positions (v, u) of a block of 8x8."""
    by_diagonal = sorted(((v, u) for v in range(8) for u in range(8)), key=lambda at: (sum(at), at[sum(at) % 2 == 0]))
    return by_diagonal


def add_detail(planes, q, stream):
    """Section 10, in place."""
    if q < 32 or not stream.raw(1):
        return
    contexts, order = start_of_contexts(1), zigzag()
    coded = [np.zeros((p.shape[0] // 8, p.shape[1] // 8), int) for p in planes]
    for y in range(len(planes[0]) // 16):
        for x in range(planes[0].shape[1] // 16):
            need(not stream.over, "the entropy-coded part with a frame's detail")
            places = [(0, 2 * y, 2 * x), (0, 2 * y, 2 * x + 1), (0, 2 * y + 1, 2 * x), (0, 2 * y + 1, 2 * x + 1)]
            for plane, row, column in [*places, (1, y, x), (2, y, x)]:
                kind, flags = int(plane > 0), coded[plane]
                beside = (flags[row, column - 1] if column else 0) + (flags[row - 1, column] if row else 0)
                flags[row, column] = stream.flag(contexts, 3 * kind + beside)
                if flags[row, column]:
                    c = np.clip(
                        read_levels(stream, contexts, kind, order) * (STEPS[q % 16] >> (q // 16)), -32768, 32767
                    )
                    t = np.clip((M.T @ c + 64) >> 7, -32768, 32767)
                    part = planes[plane][8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                    part[:] = np.clip(part + ((t @ M + 128) >> 8), 0, 4095)


def read_levels(stream, contexts, kind, order):
    end, not_zero, greater = 6 + 6 * kind, 18 + 40 * kind, 98 + 80 * kind
    c = 0
    while c < 6 and stream.flag(contexts, end + c):
        c += 1
    last = (1 << (c - 1)) + stream.raw(c - 1) if c else 0
    levels, sizes = np.zeros((8, 8), np.int64), np.zeros((10, 10), np.int64)
    for at in range(last, -1, -1):
        v, u = order[at]
        s = sizes[v, u + 1] + sizes[v, u + 2] + sizes[v + 1, u] + sizes[v + 2, u] + sizes[v + 1, u + 1]
        near = s if s < 5 else 5 + bisect.bisect_right((7, 10, 15, 25), s)
        diagonal = 0 if u + v == 0 else 1 if u + v < 3 else 2 if u + v < 7 else 3
        if at < last and not stream.flag(contexts, not_zero + 10 * diagonal + near):
            continue
        ones = 0
        while ones < 8 and stream.flag(contexts, greater + 10 * ones + near):
            ones += 1
        size = 1 + ones
        if ones == 8:
            size = min(size + stream.golomb(3 if near == 9 else 0), 32767)
        sizes[v, u] = size
        levels[v, u] = -size if stream.raw(1) else size
    return levels


class Decoder:
    """Clips one after the other."""

    def __init__(self, model, video):
        need(model["levels"] == 768 and model["tables"] and model["laps"], "a model of no video codec")
        for name, inputs in (("key", []), ("predicted", [["s16", 3, 96], ["s16", 3, 96], ["u7", 4, 1]])):
            need(name in model["programs"], "a model of no video codec")
            program = model["programs"][name]
            tensors = [t[1:] for t in program["tensors"]]
            need([tensors[i] for i in program["inputs"]] == inputs, f"inputs of `{name}`")
            outputs = [tensors[i] for i in program["outputs"]]
            need(len(outputs) == 2 and outputs[0] == ["s16", 3, 96], f"outputs of `{name}`")
            need(outputs[1][:2] == ["s16", 4], f"outputs of `{name}`")
            symbols = [(layer["op"], layer["out"]) for layer in program["layers"] if layer["op"] in ("hyper", "code")]
            need([op for op, _ in sorted(symbols)] == ["code"] * 4 + ["hyper"], f"symbols of `{name}`")
            need(dict(symbols)["code"] == program["outputs"][1], f"latents of `{name}`")
            need(tensors[dict(symbols)["hyper"]][1] == 6, f"hyper-latents of `{name}`")
        self.model, self.video, self.anchors = model, video, []
        self.rows, self.columns = ((n + 15) // 16 * 2 for n in (video["height"], video["width"]))

    def clip(self, clip, key):
        """The bytes shown of each frame, in order of display."""
        if key:
            q, part = read_key_payload(clip["payload"])
            stream = Stream(part)
            self.key = decode_key(self.model, q, stream, self.rows, self.columns, 0)
            self.anchors = [self.key]
            stream.end()
            self.contexts = start_of_contexts()
            frames = [self.anchors[0]]
        else:
            frames = self.predicted(clip["payload"], len(clip["pts"]))
        out = [shown(frame.planes, self.video) for frame in frames]
        for data, check in zip(out, clip["checks"], strict=False):
            need(folded(zlib.crc32(data), clip["check_bits"]) == check, "a frame has another checksum")
        return out

    def predicted(self, payload, n):
        older = len(self.anchors) > 1
        steps, qualities, parts = read_payload(payload, n, older)
        zero = self.anchors[-1].time
        frames = {0: self.anchors[-1], -2: self.key} | ({-1: self.anchors[-2]} if older else {})
        need(payload[0] != 4 or zero + n <= 960, "an anchor is too far from its key frame")
        stream, contexts = Stream(parts[0]), self.contexts
        for i, ((k, place, references), q) in enumerate(zip(steps, qualities, strict=False)):
            if i == 1 and len(parts) == 2:
                stream.end()
                stream, contexts = Stream(parts[1]), start_of_contexts()
            named = [frames[r] for r in references]
            if named:
                frames[k] = decode_predicted(self.model, q, place, stream, contexts, zero + k, named)
            else:
                exposure = read_exposure(stream, contexts, [frames[0]])
                frames[k] = decode_key(self.model, q, stream, self.rows, self.columns, zero + k, exposure)
        stream.end()
        self.anchors = [self.anchors[-1], frames[n]]
        return [frames[k] for k in range(1, n + 1)]


def folded(crc, bits):
    for width in (16, 8, 4):
        if bits <= width:
            crc = crc >> width ^ crc & ((1 << width) - 1)
    return crc


def md5s(handle, model_data=None):
    """Yields nothing before the file is read and checked as a whole; then the MD5 of each frame."""
    clips, models = [], []

    def take(name, value):
        (models if name == "MODL" else clips).append(value)

    result = lvz_reader.read_file(handle, base=model_data, take=take)
    known(result["video"]["packing"] == 5, "packing")
    data = models[0] if models else model_data
    known(data is not None, "the model is not in the file: name it by --model")
    known(hashlib.sha256(data).hexdigest() == result["head"]["model_sha256"], "the video needs another model")
    decoder = Decoder(read_model(data), result["video"])
    for clip, key in clips:
        for frame in decoder.clip(clip, key):
            yield hashlib.md5(frame).hexdigest()


def main(arguments):
    names, given = list(arguments), {"--model": None, "--delta": None}
    for option in given:
        if option in names[:-1]:
            at = names.index(option)
            _, given[option] = names.pop(at), names.pop(at)
    if len(names) != 1 or names[0].startswith("--") or (given["--delta"] and not given["--model"]):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        data, delta = (Path(name).read_bytes() if name is not None else None for name in given.values())
        if delta is not None:
            data = apply_delta(delta, data)
        with open(names[0], "rb") as handle:
            for md5 in md5s(handle, data):
                print(md5, flush=True)
    except OSError as error:
        print(f"lvz_decoder: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 3
    except LvzError as error:
        print(f"lvz_decoder: error: {names[0]}: {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
