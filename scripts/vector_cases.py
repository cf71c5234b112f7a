"""The files of `formats/vectors`: what is in them and what a reader must say. See `make_vectors.py`.

Files are made by `lvc`'s own writer, taken apart into chunks, changed in one place, and framed again with right
checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import zstandard

from lvc.entropy.clip import FrameLatents, latents_crc, pack_zstd
from lvc.errors import TruncatedError
from lvc.latents.clips import pack_clip
from lvc.latents.field import PASSES, FieldModel, PassWeights
from lvc.latents.parameters import pack_model
from lvc.limits import DEFAULT
from lvc.lvz import (
    MODEL_DELTA,
    MODEL_WHOLE,
    Attachment,
    Chapter,
    Clip,
    CopiedStream,
    FeatureTrack,
    Header,
    LvzWriter,
    Metadata,
    ModelChunk,
    Origin,
    Packet,
    PlaneSpec,
    Sample,
    Side,
    TensorSet,
    VideoDescriptor,
    codec_planes,
)
from lvc.lvz import chunks as c
from lvc.lvz.features import NUMBERS, PICTURE, SIGNS, SOUND, pack_features
from lvc.lvz.index import pack_index, pack_tail, unpack_tail
from lvc.lvz.walk import Walker

Case = tuple[bytes, str, str | None]  # file, what it shows, error class

HEAD = Header("vector", bytes(range(32)), "make_vectors")
CODEC_PLANES = (
    PlaneSpec("skip", "uint8", 1, 16, in_key=False),
    PlaneSpec("motion", "int16", 2, 8, in_key=False),
    PlaneSpec("hyper", "int16", 2, 64),
    PlaneSpec("latent", "int16", 4, 16, masked=True),
)
CODEC = VideoDescriptor(
    40, 24, CODEC_PLANES, 1, time_base=(1, 30000), frame_rate=(30000, 1001), source_pix_fmt="yuv420p", gop_seconds=0.2
)
AUDIO = CopiedStream("audio", "pcm_s16le", (1, 8000), "deu", 8000, 1, 1, {"title": "Ton"}, b"\x01\x02\x03")
SUBTITLE = CopiedStream("subtitle", "subrip", (1, 1000), "eng")


def raw_zstd(content: bytes) -> bytes:
    """A zstd frame of one raw block: single segment, content size declared."""
    size = len(content)
    header = b"\x20" + bytes([size]) if size < 256 else b"\x60" + (size - 256).to_bytes(2, "little")
    return b"\x28\xb5\x2f\xfd" + header + (size << 3 | 1).to_bytes(3, "little") + content


def latents(video: VideoDescriptor, kind: int, number: int) -> FrameLatents:
    """Made by a formula; one value in 17 needs an escape, a third of the blocks is skipped."""
    frame = FrameLatents(kind, number % 101)
    geometry = video.geometry
    for p, spec in enumerate(video.planes):
        if not spec.present(kind):
            continue
        shape = geometry.plane_shape(spec)
        n = np.arange(shape[0] * shape[1] * shape[2], dtype=np.int64) + 13 * number + 5 * p
        values = n * n % 7 - 3
        if spec.name == "skip":
            values = (n % 3 == 0).astype(np.int64)
        elif spec.dtype == "int16":
            values = np.where(n % 17 == 0, (n * 97) % 1000 - 500, values)
        elif spec.dtype == "uint8":
            values = n % 256
        plane = values.astype(spec.dtype).reshape(shape)
        if spec.masked and kind == 1:
            plane[:, frame.planes["skip"][0] == 1] = 0
        frame.planes[spec.name] = plane
    return frame


def packed(frames: list[FrameLatents], video: VideoDescriptor) -> bytes:
    return raw_zstd(zstandard.ZstdDecompressor().decompress(pack_zstd(frames, video.geometry)))


def make_clip(video: VideoDescriptor, first: int, count: int, key: bool, pts: list[int] | None = None) -> Clip:
    n = video.geometry.latent_frames(count)
    only_keys = not video.planes[-1].in_predicted
    frames = [latents(video, 0 if only_keys or (key and i == 0) else 1, first + i) for i in range(n)]
    times = pts or [1001 * (first + i) for i in range(count)]
    durations = [b - a for a, b in zip(times, times[1:], strict=False)] + [1001]
    return Clip(first, key, times, durations, latents_crc(frames, video.geometry), packed(frames, video))


def packet(number: int) -> Packet:
    return Packet(800 * number, 800 * number, 800, 1, bytes((number * 5 + i) % 251 for i in range(40)))


def write(
    video: VideoDescriptor,
    fill: Callable[[LvzWriter], None],
    copied: tuple[CopiedStream, ...] = (),
    metadata: Metadata | None = None,
    head: Header = HEAD,
    chunk_bytes: int = 16384,
) -> bytes:
    out = io.BytesIO()
    with LvzWriter(out, head, video, copied, metadata, chunk_bytes=chunk_bytes) as w:
        fill(w)
    return out.getvalue()


def clip_and_packet(w: LvzWriter) -> None:
    w.write_clip(make_clip(CODEC, 0, 1, True))
    w.write_packets(0, [packet(0)])


def three_gops(w: LvzWriter) -> None:
    for i in range(5):
        w.write_clip(make_clip(CODEC, 3 * i, 3, i % 2 == 0))


# --- good -------------------------------------------------------------------------------------------------------------

TINY = VideoDescriptor(
    16, 16, (PlaneSpec("z", "int16", 2, 16),), 1, time_base=(1, 25), frame_rate=(25, 1), chroma=400,
    source_pix_fmt="gray",
)  # fmt: skip
# zstd 1.5.7, level 12, of the content that `make_clip(CODEC, 0, 3, True)` packs
COMPRESSED = bytes.fromhex(
    "28b52ffd20c5450200a2440b11d015860303a015080581561001684a520a8743827c869bb8437c863066dfc121b0109b11cf32cb0a"
    "90995505090038c7a0ca5614feec2cc5dcee4645c4b9038c0b15e509"
)


def tiny() -> bytes:
    frame = FrameLatents(0, 50, {"z": np.array([[[7]], [[-300]]], np.int16)})
    crc = latents_crc([frame], TINY.geometry)
    item = Clip(0, True, [0], [1], crc, packed([frame], TINY))
    return write(TINY, lambda w: w.write_clip(item), head=Header("tiny"))


def everything() -> bytes:
    def fill(w: LvzWriter) -> None:
        for i in range(5):
            w.write_clip(make_clip(CODEC, 3 * i, 3, i % 2 == 0))
            w.write_packets(0, [packet(i)])
            if i == 2:
                w.write_packets(1, [Packet(100, None, 50, 1, "grüß".encode()), Packet(None, None, 0, 0, b"")])
                w.flush()
                w.write_metadata(Metadata({"title": "later"}, (Chapter(-5, 500, (1, 1000), {"title": "one"}),)))

    return write(CODEC, fill, (AUDIO, SUBTITLE), Metadata({"title": "first", "artist": "Ä"}))


def variable_rate() -> bytes:
    video = replace(CODEC, time_base=(1, 1000), frame_rate=(0, 0), rotation=90, hflip=True, sar=(4, 3))
    clips = [
        make_clip(video, 0, 3, True, [-40, 0, 33]), make_clip(video, 3, 3, False, [67, 5000, 5001]),
        make_clip(video, 6, 2, False, [100000, 100040]),
    ]  # fmt: skip
    return write(video, lambda w: [w.write_clip(x) for x in clips] and None)


def foreign() -> bytes:
    """A causal video VAE with a stride of 4 in time, quantiser given; and an image-like second plane."""
    planes = (
        PlaneSpec("z", "int8", 4, 8, in_predicted=False, scale=(0.5, 1.0, 2.0, 0.1), zero=(0.0, -1.0, 1.0, 0.25)),
        PlaneSpec("global", "uint8", 1, 64, in_predicted=False, error_bound=0.5),
    )
    video = VideoDescriptor(30, 20, planes, 1, 8, (1, 24), (24, 1), temporal_stride=4, temporal_lead=1)
    clips = [make_clip(video, 0, 9, True, list(range(9))), make_clip(video, 9, 6, True, list(range(9, 15)))]
    return write(video, lambda w: [w.write_clip(x) for x in clips] and None, head=Header("someone/vae"))


def rans(sizes: tuple[int, ...] = (1, 5, 3), payload: bytes = b"opaque") -> bytes:
    """Key frames alone and clips after them; each frame has a check. Payloads mean nothing."""
    video = replace(CODEC, packing=5, planes=codec_planes(3, 2, 4, 2), checks=True)

    def fill(w: LvzWriter) -> None:
        first = 0
        for number, count in enumerate(sizes):
            times = [1001 * i for i in range(first, first + count)]
            checks = tuple(i * 0x9E3779B1 % (1 << 32) for i in range(first, first + count))
            w.write_clip(Clip(first, number == 0, times, [1001] * count, None, payload * (number + 1), checks))
            first += count

    return write(video, fill)


def checked(count: int) -> bytes:
    """Packing zstd with checks."""
    video = replace(TINY, checks=True)
    item = make_clip(video, 0, count, True, list(range(count)))
    return write(video, lambda w: w.write_clip(replace(item, checks=(0xDEADBEEF,) * count)), head=Header("tiny"))


def appended() -> bytes:
    def fill(w: LvzWriter) -> None:
        w.write_clip(make_clip(CODEC, 0, 2, True))
        w.write_packets(0, [packet(0)])
        w.checkpoint()
        w.write_clip(make_clip(CODEC, 2, 2, False))
        w.write_packets(0, [packet(1)])

    out = io.BytesIO(write(CODEC, fill, (AUDIO,)))
    with LvzWriter.append_to(out) as w:
        w.write_clip(make_clip(CODEC, 4, 2, True))
    return out.getvalue()


def ancillary() -> bytes:
    data = write(CODEC, three_gops, chunk_bytes=0)
    chunks = split(data)
    private = (b"prIv", b"anything at all")
    chunks = [chunks[0], private, chunks[1], private, *chunks[2:4], (b"neWa", b""), *chunks[4:-2]]
    return with_sha([*chunks, (c.INDX, index_of(chunks)), (c.TAIL, split(data)[-1][1])])


def with_origin() -> bytes:
    out = io.BytesIO()
    origin = Origin(123_456_789, hashlib.sha256(b"source").digest(), {"gop": "10", "quality": "50", "start": "1.5"})
    with LvzWriter(out, HEAD, CODEC, (AUDIO,), Metadata({"title": "x"}), origin=origin) as w:
        clip_and_packet(w)
    return out.getvalue()


SIDE_OF = Side(
    "jpn", 1, {"title": "Main", "timecode": "01:02:03:04"},
    {
        "field_order": "tt",
        "mastering_display": "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)",
        "content_light": "1000,400",
        "stereo3d": "side_by_side",
    },
)  # fmt: skip
ATTACHED = (
    Attachment("cover.jpg", "image/jpeg", b"\xff\xd8\xff\xd9", cover=True),
    Attachment("a.ttf", "font/ttf", b"\0"),
)


def with_side() -> bytes:
    out = io.BytesIO()
    with LvzWriter(out, HEAD, CODEC, (AUDIO,), side=SIDE_OF, attachments=ATTACHED) as w:
        clip_and_packet(w)
    return out.getvalue()


SEEN = FeatureTrack(PICTURE, "frame64", bytes(range(8)), NUMBERS, 4, (1, 1000), [0], bytes(range(252, 256)))
HEARD = FeatureTrack(SOUND, "signs", bytes(8), SIGNS, 16, (1, 1000), [-20, 980], b"\x01\x80\0\0")


def with_features(*tracks: FeatureTrack) -> bytes:
    out = io.BytesIO()
    with LvzWriter(out, HEAD, CODEC, (AUDIO,)) as w:
        w.write_features(*tracks)
        clip_and_packet(w)
    return out.getvalue()


def broken_features() -> dict[str, Case]:
    """What is wrong with features is no damage: each of these files is good, and has none."""
    base = with_features(SEEN, HEARD)
    first = len(pack_features((SEEN,)))  # where the second track begins
    late = first + 15  # its form, behind a kind, a name of 5 letters and a fingerprint
    changes: dict[str, tuple[Callable[[bytearray], object], str]] = {
        "version": (setter(0, 3), "a newer version"),
        "none": (lambda p: p.__setitem__(slice(1, None), b"\0"), "no track"),
        "twice": (setter(first, 0), "two tracks of one kind"),
        "form": (setter(late, 2), "an unknown form"),
        "bits": (setter(late + 1, 15), "15 signs in bytes"),
        "clock": (setter(late + 2, 0), "a time base of 0"),
        "count": (setter(late + 5, 3), "more vectors than bytes"),
        "order": (lambda p: p.__setitem__(slice(late + 7, late + 10), b"\0\0"), "two vectors at one time"),
        "short": (lambda p: p.pop(), "a byte too few"),
        "long": (lambda p: p.append(0), "a byte too many"),
    }
    return {
        f"good-features-{name}": (edit(base, c.FEAT, change), f"features with {shows}: the file has none", None)
        for name, (change, shows) in changes.items()
    }


BASE_MODEL = bytes(n * n % 251 for n in range(1024))
MODEL = BASE_MODEL[:700] + b"delta" + BASE_MODEL[700:]
# zstd 1.5.7, level 19, of MODEL with BASE_MODEL as its dictionary
DELTA = bytes.fromhex("28b52ffd600503bd0000300064656c7461040041feabaaaadfd40090580a2e9e57")


def with_model(chunk: ModelChunk, of: bytes = MODEL) -> bytes:
    head = replace(HEAD, model_sha256=hashlib.sha256(of).digest())
    out = io.BytesIO()
    with LvzWriter(out, head, CODEC, (AUDIO,), Metadata({"title": "x"}), model_chunk=chunk) as w:
        clip_and_packet(w)
    return out.getvalue()


def with_delta(frame: bytes, of: bytes = MODEL, base: bytes = BASE_MODEL) -> bytes:
    return with_model(ModelChunk(MODEL_DELTA, frame, hashlib.sha256(base).digest()), of)


# --- taking files apart and putting them together again ---------------------------------------------------------------


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    source = c.Source(io.BytesIO(data), DEFAULT)
    source.seek(8)
    chunks = []
    while (chunk := source.read_chunk()) is not None:
        chunks.append((chunk.type, chunk.payload))
    return chunks


def join(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return c.SIGNATURE + b"".join(c.pack_chunk(*chunk) for chunk in chunks)


def index_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """The payload of `INDX` that belongs after these chunks, found by walking them."""
    walker = Walker(c.Source(io.BytesIO(join(chunks)), DEFAULT))
    walker.read_descriptors()
    with contextlib.suppress(TruncatedError):
        for _ in walker.records():
            pass
    return pack_index(walker.state.entries)


def edit(data: bytes, chunk_type: bytes, change: Callable[[bytearray], object], which: int = 0) -> bytes:
    """Changes one chunk's payload and makes the CRC right again; `TAIL`'s SHA-256 as well, unless it is the one."""
    chunks = split(data)
    at = [i for i, x in enumerate(chunks) if x[0] == chunk_type][which]
    payload = bytearray(chunks[at][1])
    change(payload)
    chunks[at] = (chunk_type, bytes(payload))
    return with_sha(chunks) if chunk_type != c.TAIL else join(chunks)


def with_sha(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """`TAIL`'s offset and SHA-256 fit; all else is left as it is, wrong or not."""
    body = join([x for x in chunks if x[0] != c.TAIL])
    tails = [x[1] for x in chunks if x[0] == c.TAIL]
    if not tails:
        return body
    index_at = max(0, body.rfind(b"INDX"))
    tail = replace(unpack_tail(tails[-1]), sha256=hashlib.sha256(body).digest(), index_offset=index_at)
    return body + c.pack_chunk(c.TAIL, pack_tail(tail))


def setter(position: int, *values: int) -> Callable[[bytearray], None]:
    def change(payload: bytearray) -> None:
        payload[position : position + len(values)] = bytes(values)

    return change


def setslice(start: int, stop: int, data: bytes) -> Callable[[bytearray], None]:
    return lambda payload: payload.__setitem__(slice(start, stop), data)


def one_clip(payload: bytes, crc: int = 0, key: bool = True) -> bytes:
    """A file of `TINY` with one frame whose clip has this payload."""
    return write(TINY, lambda w: w.write_clip(Clip(0, True, [0], [1], crc, payload)), head=Header("tiny"))


# --- tensors ----------------------------------------------------------------------------------------------------------

TENSORS = VideoDescriptor(
    32, 24, (PlaneSpec("latent", "int16", 2, 8, in_predicted=False, scale=(0.5, 0.25), zero=(1.0, -1.0)),), 1, align=1,
    time_base=(1, 1),
)  # fmt: skip
SAMPLES = (Sample("a/clip", "NCTHW", 2, 3, 4, {"caption": "grüß"}), Sample("picture", "HWC", 1, 2, 3))


def field_model() -> FieldModel:
    """Weights that were not fitted to anything: fitting is done in floats."""
    mean = np.array([[60, 70], [50, 40], [90, 80], [-9, 3], [1, -2]], np.int64)
    size = np.array([[40, 50], [30, 20], [10, 700], [15, 25]], np.int64)
    cross, norm = np.array([[0, 0], [99, 0]], np.int64), np.array([300, 200], np.int64)
    return FieldModel(True, 1, ((PassWeights(mean, size),) * PASSES,) * 2, cross, norm)


def of_tensors(packing: int = 1, exponent: int | None = None) -> bytes:
    """Two samples, one smaller than the planes; lossy with a matrix, or exact."""
    model = field_model()
    planes = TENSORS.planes
    if exponent is not None:
        names = (("whole", "int16"), ("rest0", "int8"), ("rest1", "int8"))
        planes = tuple(PlaneSpec(name, dtype, 2, 8, in_predicted=False) for name, dtype in names)
    video = replace(TENSORS, packing=packing, planes=planes)
    matrix = (1.0, 0.5, -0.5, 1.0) if exponent is None else ()
    tensors = TensorSet("float16", matrix, exponent, pack_model(model) if packing == 3 else b"", SAMPLES)

    def fill(w: LvzWriter) -> None:
        for first, sample in zip(tensors.starts(), SAMPLES, strict=False):
            n = np.arange(sample.frames * 2 * sample.rows * sample.columns)
            values = (n * n % 23 - 9).astype(np.int16).reshape(sample.frames, 2, sample.rows, sample.columns)
            values[0, 0, 1, 1] = -1234
            rest = [] if exponent is None else [(values % 5).astype(np.int8), np.zeros(values.shape, np.int8)]
            parts = [values, *rest]
            payload, crc = pack_clip(parts, video, tensors, model)
            if packing == 1:
                payload = raw_zstd(zstandard.ZstdDecompressor().decompress(payload))
            times = list(range(first, first + sample.frames))
            w.write_clip(Clip(first, True, times, [1] * sample.frames, crc, payload))

    out = io.BytesIO()
    with LvzWriter(out, Header("latents"), video, tensors=tensors) as w:
        fill(w)
    return out.getvalue()


# --- all --------------------------------------------------------------------------------------------------------------


def good_cases() -> dict[str, Case]:
    compressed = write(CODEC, lambda w: w.write_clip(compressed_clip()))
    return {
        "good-tiny": (tiny(), "one frame, one plane; the worked example of lvz.md", None),
        "good-empty": (write(CODEC, lambda w: None), "no frame at all", None),
        "good-three-gops": (write(CODEC, three_gops), "three GOPs, the last one half as long", None),
        "good-a-chunk-each": (write(CODEC, three_gops, chunk_bytes=0), "the same, a chunk for every clip", None),
        "good-everything": (everything(), "audio, a subtitle without all times, tags twice, chapters", None),
        "good-variable-rate": (variable_rate(), "unknown frame rate, negative pts, rotation, mirror", None),
        "good-foreign-vae": (foreign(), "latents of a video VAE: stride in time, scale and zero, error bound", None),
        "good-rans": (
            rans(),
            "packing rans with clips of 1, 5 and 3 frames and checks of 4 bits; payloads mean nothing",
            None,
        ),
        "good-rans-checks": (rans((1, 2), bytes(480)), "the same, checks of 8 bits", None),
        "good-checks": (checked(3), "packing zstd with checks of frames", None),
        "good-appended": (appended(), "a checkpoint, then an appended GOP: three INDX and TAIL", None),
        "good-ancillary": (ancillary(), "unknown ancillary chunks between all others", None),
        "good-features": (with_features(SEEN, HEARD), "vectors of what is seen and heard", None),
        "good-features-more": (
            with_features(SEEN, replace(HEARD, kind=7)),
            "vectors of an unknown kind",
            None,
        ),
        **broken_features(),
        "good-side": (with_side(), "what the video has beside its pictures, a cover and a font", None),
        "good-origin": (with_origin(), "what the file was made from", None),
        "good-model": (with_model(ModelChunk(MODEL_WHOLE, MODEL)), "the model itself", None),
        "good-model-delta": (with_delta(DELTA), "a model that builds on base-model.bin", None),
        "good-tensors": (of_tensors(), "latents that came as tensors, with a rotation", None),
        "good-tensors-exact": (of_tensors(exponent=-3), "tensors that come back bit for bit", None),
        "good-field": (of_tensors(packing=3), "packing field, which the second reader does not unpack", None),
        "good-compressed": (compressed, "a zstd frame that is really compressed", None),
    }


ORIGIN = (c.ORIG, b"\x05" + bytes(range(32)) + b"\x00")
SIDE = (c.SIDE, b"\x03eng\x01\x00\x00")
COVER = (c.ATTA, b"\x01\x05c.png\x09image/png\x00\x04\x89PNG")


def compressed_clip() -> Clip:
    item = make_clip(CODEC, 0, 3, True)
    unpack = zstandard.ZstdDecompressor().decompress
    if unpack(COMPRESSED) != unpack(item.payload):
        raise SystemExit("COMPRESSED no longer fits make_clip")
    return replace(item, payload=COMPRESSED)


def bad_cases() -> dict[str, Case]:
    base, small = write(CODEC, three_gops, (AUDIO,)), tiny()
    sep = write(CODEC, three_gops, chunk_bytes=0)
    parts = split(sep)
    head, video, clips, index, tail = parts[0], parts[1], parts[2:-2], parts[-2], parts[-1]
    content = struct.pack("<BBBHbbh", 0, 0, 0, 50, 7, -128, -300)
    pkts = write(CODEC, clip_and_packet, (AUDIO,))
    model = with_model(ModelChunk(MODEL_WHOLE, MODEL))
    flipped = bytearray(base)
    flipped[base.index(b"CLIP") + 60] ^= 4
    bad, cut = "CorruptError", "TruncatedError"
    return {
        "bad-empty": (b"", "no byte at all", cut),
        "bad-not-lvz": (b"neither this nor that", "no signature", bad),
        "bad-text-mode": (small.replace(b"\r\n", b"\n"), "CR LF became LF on the way", bad),
        "bad-crc": (bytes(flipped), "one bit of a clip flipped", bad),
        "bad-type": (base.replace(b"CLIP", b"CL1P"), "a chunk type with a digit", bad),
        "bad-cut-in-header": (base[: base.index(b"CLIP") + 6], "ends in a chunk header", cut),
        "bad-cut-in-chunk": (base[: base.index(b"CLIP") + 40], "ends in a clip", cut),
        "bad-no-end": (base[: base.rindex(b"INDX")], "whole clips, but no INDX and TAIL", cut),
        "bad-no-tail": (base[: base.rindex(b"TAIL")], "ends after INDX", cut),
        "bad-trailing": (base + b"?!", "two bytes after TAIL", cut),
        "bad-trailing-garbage": (base + bytes(16), "zeros after TAIL", bad),
        "bad-long-length": (
            small[:8] + c.HEAD + b"\xff\xff\xff\xff" + struct.pack("<Q", 5) + b"abcde" + bytes(4),
            "64-bit length without need", bad,
        ),
        "bad-no-head": (with_sha([video, *clips, index, tail]), "VSTR first", bad),
        "bad-no-video": (with_sha([head, *clips, index, tail]), "no VSTR", bad),
        "bad-two-origins": (with_sha([head, video, ORIGIN, ORIGIN, *clips, index, tail]), "oRIG twice", bad),
        "bad-late-origin": (with_sha([head, video, *clips, ORIGIN, index, tail]), "oRIG behind clips", bad),
        "bad-origin-short": (
            with_sha([head, video, (c.ORIG, ORIGIN[1][:20]), *clips, index, tail]), "oRIG ends in its hash", bad,
        ),
        "bad-two-sides": (with_sha([head, video, SIDE, SIDE, *clips, index, tail]), "sIDe twice", bad),
        "bad-late-side": (with_sha([head, video, *clips, SIDE, index, tail]), "sIDe behind clips", bad),
        "bad-late-attachment": (with_sha([head, video, *clips, COVER, index, tail]), "aTTa behind clips", bad),
        "bad-attachment-short": (
            with_sha([head, video, (c.ATTA, COVER[1][:-2]), *clips, index, tail]), "aTTa ends in its data", bad,
        ),
        "bad-early-model": (
            with_sha([split(model)[0], split(model)[3], *split(model)[1:3], *split(model)[4:]]), "MODL, then VSTR", bad,
        ),
        "bad-two-models": (with_sha([*split(model)[:4], *split(model)[3:]]), "MODL twice", bad),
        "bad-late-model": (with_sha([*split(model)[:3], *split(model)[4:-2], *split(model)[3:4], *split(model)[-2:]]),
                           "MODL behind clips", bad),  # fmt: skip
        "bad-model-hash": (edit(model, c.MODL, lambda p: p.__setitem__(9, p[9] ^ 1)), "HEAD names another model", bad),
        "bad-model-short": (edit(with_delta(DELTA), c.MODL, setslice(20, None, b"")), "MODL ends in its hash", bad),
        "bad-model-delta-hash": (with_delta(DELTA, BASE_MODEL), "the delta makes another model", bad),
        "bad-model-delta-magic": (with_delta(b"\0" + DELTA[1:]), "no zstd frame", bad),
        "bad-model-delta-no-size": (
            with_delta(b"\x28\xb5\x2f\xfd\x00\x00\x49\x00\x00" + content, content), "declares no size", bad,
        ),
        "bad-model-delta-window": (
            with_delta(b"\x28\xb5\x2f\xfd\x80\x88" + struct.pack("<I", 9) + raw_zstd(content)[6:], content),
            "a window of 128 MiB", bad,
        ),
        "bad-model-delta-trailing": (with_delta(DELTA + b"x"), "a byte after the zstd frame", bad),
        "bad-two-tensors": (with_sha([*split(of_tensors())[:3], *split(of_tensors())[2:]]), "LTNT twice", bad),
        "bad-late-tensors": (
            with_sha([*split(of_tensors())[:2], *split(of_tensors())[3:-2], split(of_tensors())[2],
                      *split(of_tensors())[-2:]]), "LTNT behind clips", bad,
        ),
        "bad-tensors-axes": (
            with_sha([(t, p.replace(b"NCTHW", b"NCTHH")) for t, p in split(of_tensors())]), "axes NCTHH", bad,
        ),
        "bad-field-alone": (
            with_sha([part for part in split(of_tensors(packing=3)) if part[0] != c.LTNT]), "field without LTNT", bad,
        ),
        "bad-two-videos": (with_sha([head, video, video, *clips, index, tail]), "VSTR twice", bad),
        "bad-late-stream": (
            with_sha([head, video, clips[0], split(base)[2], *clips[1:], index, tail]), "CSTR after a clip", bad,
        ),
        "bad-payload-short": (with_sha([head, (c.VSTR, video[1][:-1]), *clips, index, tail]), "VSTR lacks a byte", bad),
        "bad-payload-long": (
            with_sha([head, (c.VSTR, video[1] + b"\0"), *clips, index, tail]), "VSTR has a byte more", bad,
        ),
        "bad-varint": (edit(small, c.VSTR, setter(1, 0x90, 0x00, 16)), "a varint not in its shortest form", bad),
        "bad-text": (edit(small, c.HEAD, setter(43, 0xFF)), "model_id is not UTF-8", bad),
        "bad-mask-without-skip": (
            edit(base, c.VSTR, lambda p: p.__setitem__(slice(0, None), p.replace(b"skip", b"skap"))),
            "a masked plane, but none is named skip", bad,
        ),
        "bad-first-not-key": (with_sha([head, video, clips[1], index, tail]), "begins with frame 3", bad),
        "bad-gap": (with_sha([head, video, clips[0], *clips[2:], index, tail]), "a clip is missing", bad),
        "bad-repeat": (with_sha([head, video, clips[0], *clips, index, tail]), "a clip comes twice", bad),
        "bad-pts": (one_frame_pts(), "pts go back from one chunk to the next", bad),
        "bad-gop-goes-on": (edit(sep, c.CLIP, lambda p: p.__setitem__(0, p[0] | 2), 0), "gop_end, but it goes on", bad),
        "bad-clip-sizes": (edit(small, c.CLIP, setter(8, 0x7F)), "a clip larger than its chunk", bad),
        "bad-many-clips": (
            edit(small, c.CLIP, lambda p: p.__setitem__(slice(2, 3), b"\xff\xff\xff\xff\x7f")),
            "34 billion clips in 30 bytes", bad,
        ),
        "bad-no-clips": (edit(small, c.CLIP, setter(2, 0)), "a CLIP without clips", bad),
        "bad-checks-short": (edit(checked(1), c.CLIP, setslice(13, None, b"")), "CLIP ends before its checks", bad),
        "bad-clip-without-frames": (edit(small, c.CLIP, setter(3, 0)), "a clip of no frames", bad),
        "bad-checks-padding": (
            edit(checked(1), c.CLIP, lambda p: p.__setitem__(14, p[14] | 0x10)), "a bit behind the checks is set", bad,
        ),
        "bad-stream": (edit(pkts, c.PKTS, setter(0, 1)), "packets of a stream that is not described", bad),
        "bad-packet-count": (edit(pkts, c.PKTS, setter(1, 0)), "a group without packets", bad),
        "bad-index-missing": (with_sha([head, video, *clips, tail]), "TAIL without INDX", bad),
        "bad-index-entry": (edit(base, c.INDX, lambda p: p.__setitem__(1, p[1] + 1)), "an offset is wrong by one", bad),
        "bad-index-short": (
            with_sha([head, video, *clips, (c.INDX, index_of([head, video, *clips[:-1]])), tail]),
            "INDX lacks its last entry", bad,
        ),
        "bad-index-not-last": (
            with_sha([head, video, *clips[:2], (c.INDX, index_of([head, video, *clips[:2]])), *clips[2:], tail]),
            "INDX, then a clip", bad,
        ),
        "bad-tail-count": (edit(base, c.TAIL, setter(8, 16)), "TAIL counts one frame more", bad),
        "bad-tail-sha256": (edit(base, c.TAIL, lambda p: p.__setitem__(50, p[50] ^ 1)), "SHA-256 is wrong", bad),
        "bad-latents-crc": (one_clip(raw_zstd(content), 1), "the latents have another checksum", bad),
        "bad-zstd-magic": (one_clip(b"\0" + raw_zstd(content)[1:]), "no zstd frame", bad),
        "bad-zstd-size": (one_clip(b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\0\0"),
                          "declares 1 TiB", bad),  # fmt: skip
        "bad-zstd-no-size": (one_clip(b"\x28\xb5\x2f\xfd\x00\x00\x49\x00\x00" + content), "declares no size", bad),
        "bad-zstd-window": (one_clip(b"\x28\xb5\x2f\xfd\x80\x88" + struct.pack("<I", 9) + raw_zstd(content)[6:]),
                            "a window of 128 MiB", bad),  # fmt: skip
        "bad-zstd-trailing": (one_clip(raw_zstd(content) + b"x"), "a byte after the zstd frame", bad),
        "bad-frame-kind": (one_clip(raw_zstd(b"\0\x02" + content[2:])), "a frame of kind 2", bad),
        "bad-frame-quality": (one_clip(raw_zstd(b"\0\0\0\xff\xff" + content[5:])), "quality 65535", bad),
        "bad-key-kind": (one_clip(raw_zstd(b"\0\x01" + content[2:])), "a key clip begins with a predicted frame", bad),
        "bad-escape": (one_clip(raw_zstd(content[:-2] + b"\x05\x00")), "a small value is escaped", bad),
        "bad-values-short": (one_clip(raw_zstd(content[:-2])), "an escaped value is missing", bad),
        "bad-values-long": (one_clip(raw_zstd(content + b"\0")), "a byte too many", bad),
    }  # fmt: skip


def many_frames(payload: bytearray) -> None:
    """65600 in 1025 clips, each with a size, a checksum and one byte; only the number is wrong."""
    payload[2:5] = b"\x81\x08\x80\x01\x00"
    payload[10:] = (b"\1" + bytes(4)) * 1025 + b"\1" * 1025


def large_planes() -> bytes:
    video = VideoDescriptor(16384, 4096, (PlaneSpec("z", "int8", 1, 2),), 1, time_base=(1, 25))
    return write(video, lambda w: w.write_clip(Clip(0, True, [0], [1], 0, b"\0")), head=Header("large"))


def empty_packets(payload: bytearray) -> None:
    """4096 packets with pts and dts: every list has its base and width 0."""
    payload[1:] = b"\x80\x20" + b"\x06\x00" + bytes(12)


def zeros() -> bytes:
    """One frame with more than 2^26 values, all 0, in run-length blocks of zstd."""
    size = 5 + (1 << 26) + 48 * (1 << 16)
    blocks = []
    for start in range(0, size, 1 << 17):
        length = min(1 << 17, size - start)
        blocks.append((length << 3 | 2 | (start + length == size)).to_bytes(3, "little") + b"\0")
    payload = b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + b"".join(blocks)
    video = VideoDescriptor(
        8192, 8192, (PlaneSpec("z", "int8", 1, 1), PlaneSpec("more", "int8", 48, 32)), 1, time_base=(1, 25)
    )
    return write(video, lambda w: w.write_clip(Clip(0, True, [0], [1], 0, payload)), head=Header("zeros"))


def many_values(payload: bytearray) -> bytes:
    return bytes(payload[:1]) + b"\x80\x01\x80\x01" + bytes(payload[3:-2]) + b"\xff\xff\x03\x01"


def one_frame_pts() -> bytes:
    first = write(CODEC, lambda w: w.write_clip(make_clip(CODEC, 0, 2, True, [9000, 9001])))
    whole = write(CODEC, lambda w: [w.write_clip(make_clip(CODEC, 2 * i, 2, True)) for i in range(2)] and None)
    a, b = split(first), split(whole)
    return with_sha([*a[:3], *b[3:]])


def other_cases() -> dict[str, Case]:
    small, base = tiny(), write(CODEC, three_gops, (AUDIO,))
    pkts = write(CODEC, clip_and_packet, (AUDIO,))
    parts = split(small)
    new, big = "UnsupportedError", "LimitError"
    return {
        "unsupported-version": (edit(small, c.HEAD, setter(0, 2)), "version 2", new),
        "unsupported-other-head": (
            with_sha([(c.HEAD, b"\xff\xff whatever comes then"), *parts[1:]]), "version 65535, another HEAD", new,
        ),
        "unsupported-feature": (edit(small, c.HEAD, setter(4, 0x80)), "an unknown required feature", new),
        "unsupported-critical-chunk": (with_sha([*parts[:2], (b"NEWC", b"?"), *parts[2:]]), "a new chunk", new),
        "unsupported-reserved-type-bit": (with_sha([*parts[:2], (b"newc", b"?"), *parts[2:]]), "small letter 3", new),
        "unsupported-earlier-packing": (edit(small, c.VSTR, setter(0, 2)), "packing 2", new),
        "unsupported-old-rans": (edit(small, c.VSTR, setter(0, 4)), "packing 4", new),
        "unsupported-packing": (edit(small, c.VSTR, setter(0, 9)), "packing 9", new),
        "unsupported-model-kind": (edit(with_delta(DELTA), c.MODL, setter(0, 2)), "MODL of kind 2", new),
        "unsupported-rans-depth": (
            edit(rans(), c.VSTR, lambda p: p.__setitem__(p.index(b"\xa4\x03") - 1, 12)), "12 bits in packing rans", new,
        ),
        "unsupported-rans-chroma": (
            edit(rans(), c.VSTR, lambda p: p.__setitem__(p.index(b"\xa4\x03"), 0xA6)), "packing rans with 4:2:2", new,
        ),
        "unsupported-rans-stride": (
            edit(rans(), c.VSTR, lambda p: p.__setitem__(p.index(b"\x08\x09key_hyper") - 2, 2)),
            "packing rans with a temporal stride of 2", new,
        ),
        "unsupported-element": (edit(of_tensors(), c.LTNT, setter(0, 4)), "tensors of element type 4", new),
        "unsupported-dtype": (edit(small, c.VSTR, lambda p: p.__setitem__(-4, 7)), "plane of dtype 7", new),
        "unsupported-plane-flag": (edit(small, c.VSTR, setslice(-3, -2, b"\x43")), "a plane's reserved flag", new),
        "unsupported-video-flag": (edit(small, c.VSTR, setter(11, 4)), "a reserved flag of VSTR", new),
        "unsupported-clip-flag": (edit(small, c.CLIP, setter(0, 0x43)), "a reserved flag of CLIP", new),
        "unsupported-check-size": (edit(small, c.CLIP, setter(0, 0x13)), "a size of checks that there are not", new),
        "unsupported-stream-kind": (edit(base, c.CSTR, setter(1, 4)), "a copied stream of kind 4", new),
        "bad-limit-chunk": (
            small[: small.index(b"CLIP")] + c.CLIP + b"\xfe\xff\xff\xff", "a chunk of 4 GiB is declared", big,
        ),
        "bad-limit-side": (edit(small, c.VSTR, setslice(1, 2, b"\xff\xff\x7f")), "width 2^21", big),
        "bad-limit-frames": (edit(small, c.CLIP, setslice(3, 4, b"\xfe\x01")), "127 frames in a clip", big),
        "bad-limit-rans-frames": (edit(rans(), c.CLIP, setter(3, 66, 0)), "33 frames in a clip of packing rans", big),
        "bad-limit-values": (
            edit(small, c.VSTR, lambda p: p.__setitem__(slice(None), many_values(p))),
            "65535 channels at stride 1 of 128x128", big,
        ),
        "bad-limit-clip-values": (
            edit(large_planes(), c.CLIP, setslice(3, 4, b"\x80\x01")), "64 frames of 2^24 values in a clip", big,
        ),
        "bad-limit-group": (edit(small, c.CLIP, many_frames), "65600 frames in a chunk", big),
        "bad-limit-model": (
            with_delta(b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\0\0"),
            "a delta that declares a model of 1 TiB", big,
        ),
        "bad-limit-packets": (edit(pkts, c.PKTS, empty_packets), "4096 packets without a byte", big),
        "bad-limit-content": (zeros(), "68 million zeros in a zstd frame of 2 kB", big),
    }  # fmt: skip
