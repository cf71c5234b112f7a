#!/usr/bin/env python3
"""A second reader of `.lvz` files, written from `formats/lvz.md` alone: standard library and zstandard only.

    python formats/lvz_reader.py FILE [--json] [--base MODEL]

Prints the structure of a file, checks every rule and every checksum, and reaches the integer latents of files packed
with zstd. `--base` names the model file that a model in the file builds on, so that this is checked too. It does not
share a line with `lvc`; on every file of `formats/vectors` the two must agree. It prefers being easy to compare with
the document to being fast, and follows its order.

Exit codes: 0 ok, 2 usage, 3 the file cannot be read, 4 corrupt or truncated, 5 unsupported, 7 over a limit.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
import zlib
from array import array

import zstandard

# --- section 1: results -----------------------------------------------------------------------------------------------


class LvzError(Exception):
    exit_code = 1


class CorruptError(LvzError):
    exit_code = 4


class TruncatedError(CorruptError):
    pass


class UnsupportedError(LvzError):
    exit_code = 5


class LimitError(LvzError):
    exit_code = 7


MAX_SIDE, MAX_PIXELS, MAX_CHUNK, MAX_CLIP_FRAMES, MAX_RANS_FRAMES = 16384, 1 << 26, 256 << 20, 64, 32
MAX_CLIP_SYMBOLS, MAX_STREAMS, MAX_INDEX_ENTRIES = 1 << 29, 64, 1 << 22
MAX_METADATA, MAX_PACKET, TIME_BOUND = 16 << 20, 64 << 20, 1 << 61
MAX_CHUNK_FRAMES, MAX_EMPTY_PACKETS, MAX_TAGS, MAX_CHAPTERS = 1 << 16, 64, 1 << 16, 1 << 16
MAX_MODEL = 16 << 20
MAX_SAMPLES, MAX_SAMPLE_TAGS, FREE_CONTENT, EXPANSION = 1 << 18, 1 << 20, 1 << 26, 1 << 10


def need(condition, message):
    if not condition:
        raise CorruptError(message)


def known(condition, message):
    if not condition:
        raise UnsupportedError(message)


def limit(value, most, message):
    if value > most:
        raise LimitError(f"{message}: {value}, limit {most}")


# --- section 2: primitives --------------------------------------------------------------------------------------------


class Payload:
    def __init__(self, data, tags=MAX_TAGS):
        self.data, self.at, self.tags_left = data, 0, tags

    def left(self):
        return len(self.data) - self.at

    def bytes(self, size):
        need(size <= self.left(), "payload is too short")
        self.at += size
        return self.data[self.at - size : self.at]

    def fixed(self, size, signed=False):
        return int.from_bytes(self.bytes(size), "little", signed=signed)

    def u8(self):
        return self.fixed(1)

    def uvarint(self, below=1 << 64):
        value = 0
        for i in range(10):
            byte = self.u8()
            value += (byte & 127) << (7 * i)
            if byte < 128:
                need(byte or i == 0, "varint is not in its shortest form")
                need(value < 1 << 64 and value < below, f"number {value} is out of range")
                return value
        raise CorruptError("varint is too long")

    def svarint(self):
        value = self.uvarint()
        return -((value + 1) // 2) if value % 2 else value // 2

    def blob(self):
        return self.bytes(self.uvarint())

    def text(self):
        try:
            return self.blob().decode("utf-8")
        except UnicodeDecodeError:
            raise CorruptError("text is not UTF-8") from None

    def ratio(self):
        return [self.uvarint(1 << 32), self.uvarint(1 << 32)]

    def tags(self):
        tags = {}
        count = self.uvarint(self.left() + 1)
        limit(count, self.tags_left, "tags")
        self.tags_left -= count
        for _ in range(count):
            key = self.text()
            need(key not in tags, "a tag comes twice")
            tags[key] = self.text()
        return tags

    def floats(self, count):
        values = struct.unpack(f"<{count}f", self.bytes(4 * count))
        need(all(map(math.isfinite, values)), "a number is not finite")
        return list(values)

    def ints(self, count):
        base, width = self.svarint(), self.u8()
        need(width <= 64, "packed integers are too wide")
        values = [base + value for value in self.bits(count, width)]
        need(max(values, default=0) < 1 << 63, "packed integer overflows")
        return values

    def bits(self, count, width):
        data = self.bytes((count * width + 7) // 8)
        values, waiting, n_waiting, at = [], 0, 0, 0
        for _ in range(count):
            while n_waiting < width:
                waiting |= data[at] << n_waiting
                n_waiting, at = n_waiting + 8, at + 1
            values.append(waiting & ((1 << width) - 1))
            waiting, n_waiting = waiting >> width, n_waiting - width
        need(waiting == 0, "padding bits are set")
        return values

    def end(self):
        need(self.left() == 0, "payload is too long")


# --- section 3: chunks ------------------------------------------------------------------------------------------------

SIGNATURE = bytes.fromhex("89 4C 56 5A 0D 0A 1A 0A")
KNOWN = ("HEAD", "VSTR", "CSTR", "CLIP", "PKTS", "mETa", "oRIG", "LTNT", "MODL", "INDX", "TAIL", "sIDe", "aTTa")


class File:
    def __init__(self, handle):
        self.handle, self.offset, self.sha = handle, 0, hashlib.sha256()

    def read(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.handle.read(min(size - len(data), 1 << 20))
            if not piece:
                break
            data += piece
        self.offset += len(data)
        return bytes(data)

    def chunk(self):
        """(type, offset, payload, SHA-256 of all bytes before the chunk), or None at the end of the file."""
        offset, before = self.offset, self.sha.copy()
        head = self.read(8)
        if not head:
            return None
        if len(head) < 8:
            raise TruncatedError("file ends in a chunk header")
        need(head[:4].isalpha(), f"no chunk at byte {offset}")
        length = int.from_bytes(head[4:], "little")
        if length == 0xFFFFFFFF:
            extension = self.read(8)
            if len(extension) < 8:
                raise TruncatedError("file ends in a chunk header")
            length = int.from_bytes(extension, "little")
            need(length >= 0xFFFFFFFF, "long length without need")
            head += extension
        limit(length, MAX_CHUNK, "chunk size")
        payload = self.read(length)
        crc = self.read(4)
        if len(payload) < length or len(crc) < 4:
            raise TruncatedError("file ends in a chunk")
        need(zlib.crc32(head + payload) == int.from_bytes(crc, "little"), f"CRC of the chunk at byte {offset} is wrong")
        for part in (head, payload, crc):
            self.sha.update(part)
        return head[:4].decode("ascii"), offset, payload, before


def is_known(name):
    if name in KNOWN:
        return True
    known(name[2].isupper(), f"chunk {name} uses the reserved bit")
    known(name[0].islower(), f"unknown critical chunk {name}")
    return False


# --- section 5: descriptors -------------------------------------------------------------------------------------------


def read_head(data):
    p = Payload(data)
    version = p.fixed(2)
    known(version == 1, f"version {version}")
    required = p.fixed(4)
    known(required == 0, f"required features {required:#x}")
    head = {"version": version, "required_features": required, "optional_features": p.fixed(4)}
    head["model_sha256"] = p.bytes(32).hex()
    head["model_id"], head["created_by"] = p.text(), p.text()
    p.end()
    return head


DTYPES = {1: ("int8", -128, 127), 2: ("int16", -32768, 32767), 3: ("uint8", 0, 255)}


def read_plane(p):
    plane = {"name": p.text()}
    dtype, flags = p.u8(), p.u8()
    known(dtype in DTYPES and flags < 32, "plane dtype or flag")
    plane["dtype"], plane["low"], plane["high"] = DTYPES[dtype]
    plane["in_key"], plane["in_predicted"], plane["masked"] = bool(flags & 1), bool(flags & 2), bool(flags & 4)
    plane["channels"], plane["stride"] = p.uvarint(1 << 16), p.uvarint(1 << 16)
    if flags & 8:
        plane["scale"], plane["zero"] = p.floats(plane["channels"]), p.floats(plane["channels"])
    plane["error_bound"] = p.floats(1)[0] if flags & 16 else 0.0
    need(1 <= len(plane["name"].encode()) <= 255 and plane["channels"] >= 1 and plane["stride"] >= 1, "plane")
    need(plane["error_bound"] >= 0, "error bound")
    return plane


def read_vstr(data):
    p = Payload(data)
    v = {"packing": p.u8()}
    known(v["packing"] in (1, 3, 5), f"packing {v['packing']}")
    v["width"], v["height"], v["align"] = p.uvarint(1 << 32), p.uvarint(1 << 32), p.uvarint(1 << 16)
    v["time_base"], v["frame_rate"], v["sar"] = p.ratio(), p.ratio(), p.ratio()
    v["rotation"] = p.uvarint(360)
    flags = p.u8()
    known(flags < 4, "VSTR flag")
    v["hflip"], v["checks"] = bool(flags & 1), bool(flags & 2)
    for name in ("primaries", "transfer", "matrix", "color_range", "chroma_location", "bit_depth"):
        v[name] = p.u8()
    v["chroma"], v["source_pix_fmt"] = p.uvarint(), p.text()
    v["gop_seconds"] = struct.unpack("<d", p.bytes(8))[0]
    v["temporal_stride"], v["temporal_lead"] = p.uvarint(1 << 16), p.uvarint(1 << 16)
    v["planes"] = [read_plane(p) for _ in range(p.uvarint(65))]
    p.end()
    need(min(v["width"], v["height"], v["align"]) >= 1, "picture size")
    need(min(v["time_base"]) >= 1 and v["sar"][1] >= 1, "time base or pixel aspect")
    need(v["frame_rate"] == [0, 0] or min(v["frame_rate"]) >= 1, "frame rate")
    need(1 <= v["bit_depth"] <= 16 and v["chroma"] in (400, 420, 422, 444), "bit depth or chroma")
    need(math.isfinite(v["gop_seconds"]) and v["gop_seconds"] >= 0, "GOP length")
    need(1 <= v["temporal_lead"] <= v["temporal_stride"], "temporal stride")
    seen = {}
    for plane in v["planes"]:
        name = plane["name"]
        need(name not in seen, "two planes of one name")
        if name == "skip":
            need(plane["dtype"] == "uint8" and plane["channels"] == 1, "plane skip")
            need(not plane["in_key"] and not plane["masked"], "plane skip")
            plane["high"] = 1
        if plane["masked"]:
            skip = seen.get("skip")
            need(skip and skip["in_predicted"] and skip["stride"] == plane["stride"], "masked plane without skip")
        seen[name] = plane
    pad_w, pad_h = (-(-v[side] // v["align"]) * v["align"] for side in ("width", "height"))
    limit(max(pad_w, pad_h), MAX_SIDE, "side")
    limit(pad_w * pad_h, MAX_PIXELS, "pixels")
    for plane in v["planes"]:
        plane["rows"], plane["columns"] = -(-pad_h // plane["stride"]), -(-pad_w // plane["stride"])
        plane["area"] = plane["rows"] * plane["columns"]
    if v["packing"] == 5:
        known(v["bit_depth"] in (8, 10) and v["chroma"] == 420 and v["align"] == 16, "picture that rans does not have")
        known(v["temporal_stride"] == 1, "packing rans with a temporal stride")
    v["symbols"] = max(
        sum(q["area"] * q["channels"] for q in v["planes"] if q[kind]) for kind in ("in_key", "in_predicted")
    )
    limit(v["symbols"], MAX_CLIP_SYMBOLS, "values per clip")
    return v


def read_cstr(data):
    limit(len(data), MAX_METADATA, "CSTR size")
    p = Payload(data)
    s = {"stream": p.uvarint()}
    kind = p.u8()
    limit(s["stream"], MAX_STREAMS - 1, "streams")
    known(1 <= kind <= 3, "stream kind")
    s["kind"] = ("audio", "subtitle", "data")[kind - 1]
    s["codec"], s["time_base"], s["language"] = p.text(), p.ratio(), p.text()
    for name in ("sample_rate", "channels", "disposition"):
        s[name] = p.uvarint(1 << 32)
    s["metadata"], s["params"] = p.tags(), p.blob().hex()
    p.end()
    need(min(s["time_base"]) >= 1, "time base")
    return s


def read_meta(data):
    limit(len(data), MAX_METADATA, "mETa size")
    p = Payload(data)
    meta = {"tags": p.tags(), "chapters": []}
    count = p.uvarint(p.left() + 1)
    limit(count, MAX_CHAPTERS, "chapters")
    for _ in range(count):
        chapter = {"start": p.svarint(), "end": p.svarint(), "time_base": p.ratio()}
        need(min(chapter["time_base"]) >= 1, "time base")
        chapter["tags"] = p.tags()
        meta["chapters"].append(chapter)
    p.end()
    return meta


def read_orig(data):
    limit(len(data), MAX_METADATA, "oRIG size")
    p = Payload(data)
    origin = {"source_bytes": p.uvarint(), "source_sha256": p.bytes(32).hex(), "settings": p.tags()}
    p.end()
    return origin


def read_side(data):
    limit(len(data), MAX_METADATA, "sIDe size")
    p = Payload(data)
    side = {"language": p.text(), "disposition": p.uvarint(1 << 32), "tags": p.tags(), "properties": p.tags()}
    p.end()
    return side


def read_atta(data):
    limit(len(data), MAX_METADATA, "aTTa size")
    p = Payload(data)
    attachment = {"cover": p.uvarint() == 1, "name": p.text(), "mime": p.text(), "tags": p.tags()}
    content = p.blob()
    attachment |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    p.end()
    return attachment


def read_feat(data):
    p = Payload(data)
    need(p.u8() == 2, "version of fEAT")
    tracks = []
    for _ in range(p.uvarint(17)):
        track = {"kind": p.uvarint(), "extractor": p.text(), "fingerprint": p.bytes(8).hex(), "form": p.u8()}
        track["dimensions"], track["time_base"], track["count"] = p.uvarint(4097), p.ratio(), p.uvarint((1 << 24) + 1)
        need(track["dimensions"] and track["count"] and all(track["time_base"]), "fEAT is empty")
        need(track["form"] in (0, 1) and not (track["form"] and track["dimensions"] % 8), "form of fEAT")
        need(all(track["kind"] != other["kind"] for other in tracks), "a kind of fEAT comes twice")
        size = track["dimensions"] // (8 if track["form"] else 1)
        need(track["count"] * size <= p.left(), "vectors do not fit")
        times = [p.svarint()]
        for step in p.ints(track["count"] - 1):
            need(step >= 1, "times of fEAT")
            times.append(times[-1] + step)
        need(-TIME_BOUND < times[0] and times[-1] < TIME_BOUND, "a time of fEAT")
        vectors = p.bytes(track["count"] * size)
        track["first"], track["last"], track["sha256"] = times[0], times[-1], hashlib.sha256(vectors).hexdigest()
        tracks.append(track)
    need(tracks, "fEAT is empty")
    p.end()
    return tracks


def read_ltnt(data, video):
    limit(len(data), MAX_METADATA, "LTNT size")
    p = Payload(data, MAX_SAMPLE_TAGS)
    code, flags = p.u8(), p.u8()
    known(1 <= code <= 3 and flags < 4, "LTNT element or flag")
    exponent = p.svarint() if flags & 2 else None
    need(exponent is None or -160 <= exponent <= 160, "exponent")
    shapes = {(q["channels"], q["rows"], q["columns"]) for q in video["planes"]}
    need(len(shapes) == 1 and all(q["in_key"] for q in video["planes"]), "planes are not those of tensors")
    need((len(video["planes"]) == 1) == (exponent is None), "number of planes")
    channels, rows, columns = shapes.pop()
    need(video["packing"] != 3 or channels <= 1024, "channels")
    tensors = {"element": ("bfloat16", "float16", "float32")[code - 1], "exponent": exponent, "samples": []}
    tensors["matrix"] = p.floats(channels * channels) if flags & 1 else []
    coding = p.blob()
    limit(len(coding), 1 << 22, "parameters of packing")
    count = p.uvarint(p.left() + 1)
    limit(count, MAX_SAMPLES, "tensors")
    for _ in range(count):
        s = {"name": p.text(), "axes": p.text()}
        s["frames"], s["rows"], s["columns"] = (p.uvarint(1 << 32) for _ in range(3))
        letters = sorted(s["axes"].replace("N", "").replace("T", "", 1))
        need(len(s["axes"]) <= 8 and letters == ["C", "H", "W"], "axes")
        need(min(s["frames"], s["rows"], s["columns"]) >= 1, "size of a tensor")
        need(s["rows"] <= rows and s["columns"] <= columns, "tensor larger than the planes")
        need(s["frames"] == 1 or "T" in s["axes"], "frames without an axis")
        s["tags"] = p.tags()
        tensors["samples"].append(s)
    p.end()
    return tensors


def read_modl(data, model_sha256, base=None, take=lambda name, value: None):
    limit(len(data), MAX_MODEL, "MODL size")
    p = Payload(data)
    kind = p.u8()
    known(kind in (0, 1), "MODL kind")
    model = {"kind": kind, "base_sha256": p.bytes(32).hex() if kind == 1 else None, "bytes": None}
    content = p.bytes(p.left())
    if kind == 1:
        if base is None:
            return model
        known(hashlib.sha256(base).hexdigest() == model["base_sha256"], "the model builds on another one")
        content = unpack_delta(content, base)
    need(hashlib.sha256(content).hexdigest() == model_sha256, "the model is not the one that HEAD names")
    model["bytes"] = len(content)
    take("MODL", content)
    return model


def unpack_delta(frame, base):
    need(frame[:4] == b"\x28\xb5\x2f\xfd", "model is not a zstd frame")
    try:
        header = zstandard.get_frame_parameters(frame)
        size = header.content_size
        need(size != zstandard.CONTENTSIZE_UNKNOWN, "model without a size")
        limit(size, MAX_MODEL, "model size")
        need(header.window_size <= max(1024, 2 * size) and header.dict_id == 0, "zstd window or dictionary")
        dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        return zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=max(1024, 2 * size)).decompress(
            frame, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptError(f"zstd: {error}") from None


# --- section 6: CLIP --------------------------------------------------------------------------------------------------


def latent_frames(video, n):
    return 1 + -(-max(0, n - video["temporal_lead"]) // video["temporal_stride"])


def read_clips(data, video):
    p = Payload(data)
    flags = p.u8()
    known(flags < 64 and (flags < 16 or video["checks"]), "CLIP flag")
    key, gop_end, own_step, own_durations = (bool(flags & bit) for bit in (1, 2, 4, 8))
    check_bits = (4, 8, 16, 32)[flags >> 4] if video["checks"] else 0
    coded = video["packing"] == 5
    first, n_clips = p.uvarint(1 << 48), p.uvarint()
    need(1 <= n_clips <= p.left() // (2 if coded else 6), "number of clips")
    limit(n_clips, MAX_CHUNK_FRAMES, "clips per chunk")
    clip_frames = p.ints(n_clips)
    need(min(clip_frames) >= 1, "clip without frames")
    limit(max(clip_frames), MAX_RANS_FRAMES if coded else MAX_CLIP_FRAMES, "frames per clip")
    limit(latent_frames(video, max(clip_frames)) * video["symbols"], MAX_CLIP_SYMBOLS, "values per clip")
    n = sum(clip_frames)
    limit(n, MAX_CHUNK_FRAMES, "frames per chunk")
    if own_step:
        step = p.uvarint(TIME_BOUND)
        grid = [i * step for i in range(n)]
    elif video["frame_rate"] == [0, 0]:
        grid = [0] * n
    else:
        a = video["time_base"][1] * video["frame_rate"][1]
        b = video["time_base"][0] * video["frame_rate"][0]
        grid = [(2 * (first + i) * a + b) // (2 * b) for i in range(n)]
    pts = [g + d for g, d in zip(grid, p.ints(n), strict=True)]
    if own_durations:
        durations = p.ints(n)
    else:
        durations = [pts[i + 1] - pts[i] for i in range(n - 1)] + [p.uvarint(TIME_BOUND)]
    need(all(pts[i] < pts[i + 1] for i in range(n - 1)), "pts do not increase")
    need(all(abs(t) < TIME_BOUND for t in pts), "pts out of range")
    need(all(0 <= d < TIME_BOUND for d in durations), "duration out of range")
    table = [(p.uvarint(), None if coded else p.fixed(4)) for _ in range(n_clips)]
    checks = p.bits(n, check_bits)
    clips, at = [], 0
    for count, (size, crc) in zip(clip_frames, table, strict=True):
        need(size >= 1, "empty clip")
        frames = slice(at, at + count)
        clips.append({
            "first_frame": first + at, "key": key and at == 0, "pts": pts[frames], "durations": durations[frames],
            "latents_crc": crc, "checks": checks[frames], "check_bits": check_bits, "payload": p.bytes(size),
        })  # fmt: skip
        at += count
    p.end()
    return {"key": key, "gop_end": gop_end, "first_frame": first, "n_frames": n, "clips": clips}


# --- section 7: PKTS --------------------------------------------------------------------------------------------------


def read_packets(data):
    p = Payload(data)
    stream, count = p.uvarint(1 << 16), p.uvarint(4097)
    need(count >= 1, "empty packet group")
    limit(count, p.left() + MAX_EMPTY_PACKETS, "packets")
    marks, flags, durations = p.ints(count), p.ints(count), p.ints(count)
    known(all(0 <= m <= 3 for m in marks), "packet mark")
    need(all(0 <= x < 1 << 32 for x in flags), "packet flags")
    need(all(0 <= d < TIME_BOUND for d in durations), "packet duration")
    n_pts = sum(m % 2 for m in marks)
    pts_steps = p.ints(min(n_pts, 1)) + p.ints(max(n_pts - 1, 0))
    dts_steps = p.ints(sum(m // 2 for m in marks))
    sizes = p.ints(count)
    need(min(sizes) >= 0, "packet size")
    limit(max(sizes), MAX_PACKET, "packet size")
    packets, expected = [], 0
    for mark, flag, duration, size in zip(marks, flags, durations, sizes, strict=True):
        pts = expected + pts_steps.pop(0) if mark & 1 else None
        dts = (expected if pts is None else pts) + dts_steps.pop(0) if mark & 2 else None
        for t in (pts, dts):
            need(t is None or abs(t) < TIME_BOUND, "packet time")
        time = pts if pts is not None else dts
        expected = (expected if time is None else time) + duration
        packets.append((time, pts, dts, duration, flag, p.bytes(size)))
    p.end()
    return stream, packets


# --- section 8: latents -----------------------------------------------------------------------------------------------


def int16_bytes(values):
    data = array("h", values)
    if sys.byteorder == "big":
        data.byteswap()
    return data.tobytes()


def unpack_zstd(payload, video, n_frames):
    """The content of 8.2 as a list of latent frames: {"kind", "quality", plane name: list of all its values}.

    The structure, which only the default codec's decoder looks at, is left out.
    """
    need(payload[:4] == b"\x28\xb5\x2f\xfd", "clip is not a zstd frame")
    try:
        header = zstandard.get_frame_parameters(payload)
        size = header.content_size
        need(0 <= size - 1 - 4 * n_frames <= n_frames * 3 * video["symbols"], "declared content size")
        limit(size, FREE_CONTENT + EXPANSION * len(payload), "content of a zstd frame")
        need(header.window_size <= max(1024, 2 * size) and header.dict_id == 0, "zstd window or dictionary")
        content = zstandard.ZstdDecompressor(max_window_size=max(1024, 2 * size)).decompress(
            payload, max_output_size=size, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise CorruptError(f"zstd: {error}") from None
    need(len(content) == size, "content size")
    p = Payload(content)
    p.u8()
    frames = []
    for _ in range(n_frames):
        kind, zero, quality = p.u8(), p.u8(), p.fixed(2)
        need(kind <= 1 and zero == 0 and quality <= 10000, "frame header")
        frames.append({"kind": kind, "quality": quality})
    for plane in video["planes"]:
        packed = []
        for frame in frames:
            if plane["in_predicted" if frame["kind"] else "in_key"]:
                hidden = frame["skip"] if plane["masked"] and frame["kind"] else [0] * plane["area"]
                packed.append((frame, hidden, array("b", p.bytes(plane["channels"] * hidden.count(0)))))
        for frame, hidden, small in packed:
            values = list(small)
            for i, value in enumerate(values):
                if value == -128:
                    values[i] = p.fixed(2, signed=True)
                    need(not -128 < values[i] < 128, "a small value is escaped")
            need(all(plane["low"] <= v <= plane["high"] for v in values), "value out of range")
            source = iter(values)
            frame[plane["name"]] = [0 if h else next(source) for _ in range(plane["channels"]) for h in hidden]
    p.end()
    return frames


def latents_crc(frames, video):
    crc = 0
    for frame in frames:
        crc = zlib.crc32(struct.pack("<BBH", frame["kind"], 0, frame["quality"]), crc)
        for plane in video["planes"]:
            if plane["in_predicted" if frame["kind"] else "in_key"]:
                crc = zlib.crc32(int16_bytes(frame[plane["name"]]), crc)
    return crc


def check_latents(clip, video):
    frames = unpack_zstd(clip["payload"], video, latent_frames(video, len(clip["pts"])))
    need(not clip["key"] or frames[0]["kind"] == 0, "key clip starts with a predicted frame")
    need(latents_crc(frames, video) == clip["latents_crc"], f"latents of frame {clip['first_frame']}: wrong checksum")
    return frames


# --- sections 9 and 10: INDX and TAIL ---------------------------------------------------------------------------------


def read_index(data, own_offset):
    p = Payload(data)
    entries, offset, frame, pts, ends = [], 0, None, 0, {}
    while p.left():
        limit(len(entries) + 1, MAX_INDEX_ENTRIES, "index entries")
        kind = p.uvarint(2 + (1 << 16))
        step = p.uvarint()
        offset += step
        need(step >= 14 and offset < own_offset, "index offset")
        if kind == 0:
            step = p.uvarint(1 << 48)
            need(frame is None or step >= 1, "index frame")
            frame, pts = (frame or 0) + step, pts + p.svarint()
            entries.append((offset, "gop", frame, pts))
        elif kind == 1:
            entries.append((offset, "metadata"))
        else:
            start = ends.get(kind, 0) + p.svarint()
            ends[kind] = start + p.uvarint()
            entries.append((offset, "packets", kind - 2, start, ends[kind]))
    return entries


def read_tail(data):
    p = Payload(data)
    tail = {"index_offset": p.fixed(8), "frame_count": p.fixed(8), "clip_count": p.fixed(8)}
    tail["start_pts"], tail["end_pts"] = p.fixed(8, signed=True), p.fixed(8, signed=True)
    tail["sha256"] = p.bytes(32).hex()
    p.end()
    return tail


# --- sections 4 and 11: the whole file --------------------------------------------------------------------------------


def read_file(handle, report=lambda *fields: None, base=None, take=lambda name, value: None):
    """Checks everything; returns counts. `report(offset, type, description)` is called for every chunk.

    `base`: the bytes of the file that a model in the file builds on. `take` is called with ("MODL", the model's bytes)
    and ("CLIP", (clip, key)), for lvz_decoder.py.
    """
    file = File(handle)
    signature = file.read(8)
    if signature != SIGNATURE and SIGNATURE.startswith(signature):
        raise TruncatedError("file ends in its signature")
    need(signature == SIGNATURE, "wrong signature")
    file.sha.update(signature)

    head = video = meta = origin = side = tensors = model = index = tail = features = found = None
    attachments = []
    streams, packet_counts, stream_ends, entries = [], [], {}, []
    frames = clips = clip_bytes = packet_bytes = latents_checked = 0
    start_pts = last_pts = end_pts = 0
    in_records = gop_ended = after_index = at_end = False
    while (chunk := file.chunk()) is not None:
        name, offset, payload, sha_before = chunk
        at_end, recorded = False, len(entries)
        need(head is not None or name == "HEAD", "first chunk is not HEAD")
        need(not after_index or name == "TAIL", "INDX without TAIL")
        in_records = in_records or name in ("CLIP", "PKTS", "INDX", "TAIL")
        need(not in_records or video is not None, "no VSTR before the first record")
        need(not in_records or video["packing"] != 3 or tensors is not None, "packing field without LTNT")
        if name == "fEAT":  # what is wrong with it is no damage
            try:
                found = read_feat(payload)
            except CorruptError as error:
                found = []
                report(offset, name, f"not used: {error}")
            for track in found:
                report(offset, name, f"{track['count']} vectors of {track['extractor']}, {track['dimensions']} numbers")
        elif not is_known(name):
            report(offset, name, f"unknown, {len(payload)} bytes")
        elif name == "HEAD":
            need(head is None, "second HEAD")
            head = read_head(payload)
            report(offset, name, f"model {head['model_id']!r}, by {head['created_by']!r}")
        elif name == "VSTR":
            need(video is None, "second VSTR")
            video = read_vstr(payload)
            report(offset, name, f"{video['width']}x{video['height']}, planes {[q['name'] for q in video['planes']]}")
        elif name == "CSTR":
            need(video is not None and not in_records, "CSTR is out of place")
            stream = read_cstr(payload)
            need(stream["stream"] == len(streams), "stream number")
            streams.append(stream)
            packet_counts.append(0)
            report(offset, name, f"{stream['stream']}: {stream['kind']} {stream['codec']}")
        elif name == "mETa":
            meta = read_meta(payload)
            entries.append((offset, "metadata"))
            report(offset, name, f"{len(meta['tags'])} tags, {len(meta['chapters'])} chapters")
        elif name == "oRIG":
            need(video is not None and not in_records and origin is None, "oRIG is out of place")
            origin = read_orig(payload)
            report(offset, name, f"{origin['source_bytes']} bytes, {len(origin['settings'])} settings")
        elif name == "sIDe":
            need(video is not None and not in_records and side is None, "sIDe is out of place")
            side = read_side(payload)
            report(offset, name, f"{len(side['tags'])} tags, {len(side['properties'])} properties")
        elif name == "aTTa":
            need(video is not None and not in_records, "aTTa is out of place")
            attachments.append(read_atta(payload))
            limit(len(attachments), 1000, "attachments")
            report(offset, name, f"{attachments[-1]['mime']}, {attachments[-1]['bytes']} bytes")
        elif name == "LTNT":
            need(video is not None and not in_records and tensors is None, "LTNT is out of place")
            tensors = read_ltnt(payload, video)
            report(offset, name, f"{len(tensors['samples'])} tensors of {tensors['element']}")
        elif name == "MODL":
            need(video is not None and not in_records and model is None, "MODL is out of place")
            model = read_modl(payload, head["model_sha256"], base, take)
            report(offset, name, f"{model['bytes']} bytes" if model["bytes"] is not None else "a delta, not checked")
        elif name == "CLIP":
            group = read_clips(payload, video)
            first = group["clips"][0]
            need(group["first_frame"] == frames, "frame count")
            need(frames or group["key"], "first clip is not a key clip")
            need(not frames or first["pts"][0] > last_pts, "pts do not increase")
            need(group["key"] or not gop_ended, "GOP goes on after its end")
            if not frames:
                start_pts = first["pts"][0]
            if group["key"]:
                entries.append((offset, "gop", frames, first["pts"][0]))
            frames += group["n_frames"]
            last_pts = group["clips"][-1]["pts"][-1]
            end_pts = last_pts + group["clips"][-1]["durations"][-1]
            gop_ended = group["gop_end"]
            for clip in group["clips"]:
                clips += 1
                clip_bytes += len(clip["payload"])
                take("CLIP", (clip, clip["key"]))
                if video["packing"] == 1:
                    check_latents(clip, video)
                    latents_checked += 1
            report(offset, name, f"frames {first['first_frame']}..{frames - 1}, {len(group['clips'])} clips"
                   + ", key" * group["key"])  # fmt: skip
        elif name == "PKTS":
            number, packets = read_packets(payload)
            need(number < len(streams), "packets of no stream")
            spans = [(t, t + duration) for t, _, _, duration, _, _ in packets if t is not None]
            end = stream_ends.get(number, 0)
            span = (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else (end, end)
            stream_ends[number] = span[1]
            entries.append((offset, "packets", number, *span))
            packet_counts[number] += len(packets)
            packet_bytes += sum(len(packet[5]) for packet in packets)
            report(offset, name, f"stream {number}, {len(packets)} packets, {span[0]}..{span[1]}")
        elif name == "INDX":
            index, after_index, features, found = offset, True, found or [], None
            need(read_index(payload, offset) == entries, "INDX does not match the file")
            report(offset, name, f"{len(entries)} entries")
        else:
            need(after_index, "TAIL without INDX")
            tail = read_tail(payload)
            need(tail["sha256"] == sha_before.hexdigest(), "SHA-256 does not match")
            expected = (index, frames, clips, start_pts, end_pts)
            fields = ("index_offset", "frame_count", "clip_count", "start_pts", "end_pts")
            need(tuple(tail[f] for f in fields) == expected, "TAIL does not match the file")
            after_index, at_end = False, True
            report(offset, name, f"{frames} frames, {clips} clips, pts {start_pts}..{end_pts}")
        found = found if len(entries) == recorded else None  # it stands behind the last record
        limit(len(entries), MAX_INDEX_ENTRIES, "index entries")
    if not at_end:
        raise TruncatedError("file does not end with TAIL")
    return {
        "head": head, "video": video, "streams": streams, "metadata": meta, "origin": origin,
        "side": side, "attachments": attachments, "tensors": tensors, "model": model, "features": features,
        "counts": {
            "frames": frames, "clips": clips, "gops": sum(e[1] == "gop" for e in entries), "packets": packet_counts,
            "file_bytes": file.offset, "clip_bytes": clip_bytes, "packet_bytes": packet_bytes,
            "start_pts": start_pts, "end_pts": end_pts, "sha256": tail["sha256"], "latents_checked": latents_checked,
        },
    }  # fmt: skip


def main(arguments):
    names, as_json, base_name = list(arguments), "--json" in arguments, None
    if as_json:
        names.remove("--json")
    if "--base" in names[:-1]:
        at = names.index("--base")
        _, base_name = names.pop(at), names.pop(at)
    if len(names) != 1 or names[0].startswith("--"):
        print(__doc__, file=sys.stderr)
        return 2

    def report(offset, name, description):
        if not as_json:
            print(f"{offset:>10}  {name}  {description}")

    try:
        base = None
        if base_name is not None:
            with open(base_name, "rb") as handle:
                base = handle.read()
        with open(names[0], "rb") as handle:
            result = read_file(handle, report, base)
    except OSError as error:
        print(f"lvz_reader: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 3
    except LvzError as error:
        if as_json:
            print(json.dumps({"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code}))
        print(f"lvz_reader: error: {names[0]}: {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    if as_json:
        print(json.dumps({"error": None, "exit_code": 0, **result}))
    else:
        for name, value in result["counts"].items():
            print(f"{name}: {value}")
        if result["video"]["packing"] != 1:
            print("latents: packed with rans (lvz_decoder.py decodes it) or field; not compared")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
