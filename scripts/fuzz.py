#!/usr/bin/env python3
"""Fuzzes what reads strangers' bytes, guided by coverage (atheris, if it is installed: `pip install atheris`).

    python scripts/fuzz.py TARGET [--seconds 60] [--corpus FOLDER] [--seed N] [--blind]

TARGET: container (files, checksums mended), entropy (payloads of clips in all packings), models (weights and their
configuration), programs (edits of a small model, which then decodes a video), http (answers of a server), addresses. A
finding is any exception but lvc's own errors, a disagreement of the two readers, or a run of more than 20 s; its input
is stored in `tests/fuzz/TARGET/`, which the tests replay, and the run goes on: one input is kept of each place that
raises. All seconds are of the processor, so that other work on the machine neither shortens a run nor makes an input
look slow. What covered something new goes to `--corpus` (default: `.work/fuzz/TARGET`). Without atheris, and with
`--blind`, the corpus is mutated blindly; the memory in use is then printed after every 10,000 inputs, which is all the
target's own: a fuzzer's grows with what it keeps.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import io
import itertools
import json
import os
import random
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "tests" / "fuzz"

if __name__ == "__main__" and "--blind" not in sys.argv and importlib.util.find_spec("atheris") is not None:
    import atheris

    with atheris.instrument_imports(include=["lvc"]):  # before anything else imports them
        import lvc.codec
        import lvc.entropy.clip
        import lvc.latents.clips
        import lvc.latents.parameters
        import lvc.lvz
        import lvc.models.load
        import lvc.remote.addresses
        import lvc.remote.http  # noqa: F401

from lvc.errors import LvcError  # noqa: E402

SECONDS_PER_INPUT = 20


# --- container --------------------------------------------------------------------------------------------------------


@functools.cache
def fuzz_lvz() -> Any:
    from scripts import fuzz_lvz

    return fuzz_lvz


def container(data: bytes) -> None:
    """The first byte says whether checksums are mended, so that parsers behind them are reached."""
    file = data[1:]
    if data[:1] != b"\0":
        file = fuzz_lvz().mend(file)
    problem = fuzz_lvz().check(file)
    if problem is not None:
        raise AssertionError(problem)


def container_seeds() -> list[bytes]:
    vectors = sorted((ROOT / "formats" / "vectors").glob("*.lvz"))
    return [b"\1" + path.read_bytes() for path in vectors]


# --- entropy coding ---------------------------------------------------------------------------------------------------


@functools.cache
def codec() -> tuple[Any, Any]:
    """The shipped model, and a video of its codec."""
    from lvc.lvz import PACKING_RANS, VideoDescriptor
    from lvc.models import load_model

    model = load_model()
    return model, VideoDescriptor(48, 32, model.planes, PACKING_RANS, time_base=(1, 25), frame_rate=(25, 1))


def entropy(data: bytes) -> None:
    """First byte: the way. zstd 0 to 3 (payload as it is, or compressed here), rans 4 to 6, field 7 to 9."""
    import zstandard

    from lvc.codec import decode
    from lvc.entropy.clip import unpack_stacked, unpack_zstd
    from lvc.latents.clips import unpack_clip
    from lvc.latents.parameters import unpack_model
    from lvc.lvz import Clip

    if len(data) < 2:
        return
    way, count, payload = data[0] % 10, 1 + data[1] % 8, data[2:]
    model, video = codec()
    if way < 4:
        if way % 2:
            payload = zstandard.ZstdCompressor(write_content_size=True).compress(payload)
        (unpack_zstd if way < 2 else unpack_stacked)(payload, video.geometry, count)
    elif way < 7:  # a key frame, and perhaps a clip after it
        cut = len(payload) if way == 4 else len(payload) // 2
        clips = [Clip(0, True, [0], [1], None, payload[:cut] or b"\0")]
        if way > 4:
            pts = list(range(1, count + 1))
            clips.append(Clip(1, False, pts, [1] * count, None, payload[cut:] or b"\0"))
        for _ in decode(iter(clips), video, model, threads=1):
            pass
    else:
        from scripts.vector_cases import field_model, pack_model, replace

        described, tensors = field_video(exact=way == 8)
        coding = payload[:400] if way == 9 else pack_model(field_model())
        coded = payload[400:] if way == 9 else payload
        given = unpack_model(coding, 2)
        clip = Clip(0, True, list(range(count)), [1] * count, 0, coded or b"\0")
        unpack_clip(clip, described, replace(tensors, coding=coding), given, (3, 4), check=False)


@functools.cache
def field_video(exact: bool) -> tuple[Any, Any]:
    from lvc.lvz import LvzReader
    from scripts.vector_cases import of_tensors

    reader = LvzReader(io.BytesIO(of_tensors(packing=3, exponent=-3 if exact else None)))
    return reader.video, reader.tensors


def entropy_seeds() -> list[bytes]:
    from lvc.lvz import LvzReader, clips_only
    from scripts.vector_cases import field_model, of_tensors, pack_model

    rng = random.Random(1)
    seeds = [bytes((way, n)) + rng.randbytes(4 * n * 8) for way in range(10) for n in (1, 3)]
    seeds += [bytes((way, 0)) + struct.pack("<BBBH", 0, 0, 0, 50) + bytes(400) for way in (1, 3)]
    seeds += [bytes((4, 0)) + bytes([q]) + rng.randbytes(2 * q) for q in (8, 40, 100)]
    seeds += [
        bytes((5, n)) + rng.randbytes(40) + bytes([s, 40, 41, 4]) + rng.randbytes(36) for s in range(3) for n in (0, 3)
    ]
    for way, exponent in ((7, None), (8, -3)):
        for clip in clips_only(LvzReader(io.BytesIO(of_tensors(packing=3, exponent=exponent))).records()):
            seeds.append(bytes((way, len(clip.pts) - 1)) + clip.payload)
            seeds.append(bytes((9, len(clip.pts) - 1)) + pack_model(field_model()).ljust(400, b"\0") + clip.payload)
    return seeds


# --- models -----------------------------------------------------------------------------------------------------------


@functools.cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="lvc-fuzz-"))


def models(data: bytes) -> None:
    """A header of JSON and the bytes of tensors behind it; its length is mended."""
    from lvc.models import load_model

    header, separator, rest = data.partition(b"\n")
    file = struct.pack("<Q", len(header)) + header + rest if separator else data
    path = folder() / "x.safetensors"
    path.write_bytes(file)
    load_model(path)


def models_seeds() -> list[bytes]:
    from tests.helpers.small_models import model_file

    data = model_file().read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])["__metadata__"]
    metadata = json.dumps({"__metadata__": {"lvc.model": head["lvc.model"]}}).encode()
    programs = json.dumps({"__metadata__": head}).encode()
    return [metadata + b"\n", programs + b"\n", b"{}\n", data[:200], metadata.replace(b"name", b"extra") + b"\n"]


# --- programs ---------------------------------------------------------------------------------------------------------

EDIT = 4
"""Bytes of an edit: what kind, where (two bytes), to what."""
VALUES = [
    0,
    1,
    -1,
    127,
    128,
    255,
    32767,
    65536,
    1 << 31,
    -(1 << 31),
    1 << 64,
    0.5,
    "",
    "s16",
    "conv",
    None,
    True,
    [],
    {},
]


@functools.cache
def tiny() -> tuple[bytes, Any, Any, list[Any]]:
    """A small model's file, its programs as JSON, its arrays, and the clips of a video that it decodes."""
    import safetensors.numpy

    from lvc.lvz import LvzReader, clips_only
    from scripts.vector_model import model_bytes, rans_video, tiny_model

    data = model_bytes(tiny_model())
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    clips = list(clips_only(LvzReader(io.BytesIO(rans_video()[0])).records()))
    return data, json.loads(metadata["lvc.programs"]), safetensors.numpy.load(data), clips


def programs(data: bytes) -> None:
    """Edits of a model's programs and weights. What then passes every check decodes, without a crash of the engine."""
    import numpy as np
    import safetensors.numpy

    from lvc.codec import decode
    from lvc.lvz import VideoDescriptor
    from lvc.models.load import model_of_bytes

    _, head, arrays, clips = tiny()
    head, arrays = json.loads(json.dumps(head)), {name: array.copy() for name, array in arrays.items()}
    for at in range(0, min(len(data), 64 * EDIT) - EDIT + 1, EDIT):
        kind, high, low, value = data[at : at + EDIT]
        if kind < 128:
            places = _leaves(head)
            holder, key = places[(high << 8 | low) % len(places)]
            old = holder[key]
            holder[key] = VALUES[value % len(VALUES)] if kind & 1 or type(old) is not int else old + value - 128
        elif arrays:
            name = sorted(arrays)[high % len(arrays)]
            array = arrays[name]
            if kind < 224 and array.size and array.dtype.kind != "f":
                limits = np.iinfo(array.dtype)
                array.flat[low * 31 % array.size] = (value - 128, limits.min, limits.max)[kind % 3] & limits.max
            else:
                kinds = array.dtype, array.dtype, np.int8, np.uint8, np.int16, np.int32, np.float32
                cut = array.T if value & 1 else array[: len(array) * (value & 3) // 4] if value & 2 else array
                arrays[name] = np.ascontiguousarray(cut.astype(kinds[low % 7]))
                if low > 250:
                    del arrays[name]
    about = {"lvc.model": '{"name": "tiny"}', "lvc.programs": json.dumps(head)}
    model = model_of_bytes(safetensors.numpy.save(arrays, about), "tiny")
    video = VideoDescriptor(53, 38, model.planes, 5, time_base=(1, 25), frame_rate=(25, 1))
    for _ in decode(iter(clips), video, model, threads=1):
        pass


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    """Where in a JSON tree values lie: their holders, and the keys there."""
    found = []
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        found.append((tree, key))
        if isinstance(value, (dict, list)):
            found += _leaves(value)
    return found


def programs_seeds() -> list[bytes]:
    tiny()  # an engine that does not load is not taken for a file that is refused
    rng = random.Random(2)
    weights = [bytes((rng.choice((129, 130, 131)), *rng.randbytes(3))) for _ in range(16)]  # what is most often allowed
    return [b"", b"".join(weights), *(rng.randbytes(EDIT * n) for n in (1, 1, 1, 2, 4)), *weights[:4]]


# --- a server's answers -----------------------------------------------------------------------------------------------

BETWEEN = b"\n--\n"
"""Between what one connection sends and what the next one does."""


def http(data: bytes) -> None:
    """Every connection is answered by the next part of `data`, and closed."""
    from lvc.remote import http as room
    from lvc.remote import retry

    parts = itertools.chain(data[: 64 << 10].split(BETWEEN), itertools.repeat(b""))
    opened: list[socket.socket] = []

    def connect(connection: Any) -> None:
        ours, theirs = socket.socketpair()
        opened.extend((ours, theirs))
        theirs.sendall(next(parts))
        theirs.shutdown(socket.SHUT_WR)
        connection.sock = ours

    before = room._Http.connect, retry._sleep
    room._Http.connect, retry._sleep = connect, lambda seconds: None  # type: ignore[method-assign,assignment]
    os.environ["no_proxy"] = "*"
    store = room.HttpStore("http://far.example/a.lvz", timeout=5.0)
    try:
        first = store.first()
        if isinstance(first, bytes):
            if store.size > len(first):
                store.fetch(len(first), min(store.size, len(first) + 100))
        else:
            with room.HttpStream(store, first) as stream:
                while stream.read(1000):
                    pass
    finally:
        store.close()
        room._Http.connect, retry._sleep = before  # type: ignore[method-assign]
        for one in opened:
            one.close()


def http_seeds() -> list[bytes]:
    def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
        return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body

    small = answer("206 Partial Content", "Content-Range: bytes 0-3/4", "Content-Length: 4", "ETag: x", body=b"abcd")
    first = answer("206 X", "Content-Range: bytes 0-16383/20000", "Content-Length: 16384", body=bytes(16384))
    more = answer("206 X", "Content-Range: bytes 16384-16483/20000", "Content-Length: 100", body=bytes(100))
    chunked = answer(
        "206 X", "Content-Range: bytes 0-3/4", "Transfer-Encoding: chunked", body=b"4\r\nabcd\r\n0\r\n\r\n"
    )
    moved = answer("302 Found", "Location: http://user:pass@[::1]:80/b?c#d", "Content-Length: 0")
    later = answer("503 Later", "Retry-After: 3", "Content-Length: 2", body=b"no")
    stream = answer("200 OK", "Transfer-Encoding: chunked", body=b"3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n")
    rest = [answer("416 No"), answer("404 No", "Content-Length: 3", body=b"abc"), answer("100 Continue") + small]
    dated = answer("429 X", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", "Date: Wed, 21 Oct 2026 07:27:00 GMT")
    seeds = [
        small,
        first + more,
        chunked,
        moved + BETWEEN + small,
        later + small,
        stream,
        *rest,
        dated + BETWEEN + small,
    ]
    return [*seeds, first + BETWEEN + more, answer("200 OK", "Content-Length: 9", body=b"short"), b""]


# --- addresses --------------------------------------------------------------------------------------------------------


def addresses(data: bytes) -> None:
    from lvc.remote.addresses import hidden, without_secrets
    from lvc.remote.http import _Url

    text = data.decode("utf-8", "replace")
    shown = without_secrets(text)
    if without_secrets(shown) != shown or len(shown) > len(text):
        raise AssertionError("what is shown has something to hide")
    hidden(f"x {text} y")
    url = _Url.of(text)
    if "@" in url.address.split("://", 1)[1].split("/", 1)[0] or "#" in url.address:
        raise AssertionError("user or fragment would be sent as part of the address")


def addresses_seeds() -> list[bytes]:
    texts = [
        "https://user:pa%40ss@host.example:8443/a/../b c?d=e#f", "http://[::1]:80/", "http://bücher.example/ü",
        "simplecache::s3://key:secret@bucket/k?v=1", "http://a..b/", "http://x:²/", "http://us@er@h/", "http://u:p/q@h/",
        "file:///a?b#c", "C:\\a\\b", "http://%zz%00/", "http://[fe80::1%25eth0]/",
    ]  # fmt: skip
    return [text.encode() for text in texts]


# --- running ----------------------------------------------------------------------------------------------------------

TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "container": (container, container_seeds), "entropy": (entropy, entropy_seeds), "models": (models, models_seeds),
    "programs": (programs, programs_seeds), "http": (http, http_seeds), "addresses": (addresses, addresses_seeds),
}  # fmt: skip


def run_one(target: str, data: bytes) -> None:
    """Raises for a finding."""
    try:
        TARGETS[target][0](data)
    except LvcError:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzzes what reads strangers' bytes.")
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--seed", type=int, default=time.time_ns() % (1 << 31))
    parser.add_argument("--blind", action="store_true", help="without atheris; prints the memory in use")
    arguments = parser.parse_args()
    target, findings = arguments.target, FINDINGS / arguments.target
    corpus: Path = arguments.corpus or ROOT / ".work" / "fuzz" / target
    for place in (findings, corpus):
        place.mkdir(parents=True, exist_ok=True)
    for data in TARGETS[target][1]():
        (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    for data in TARGETS[target][1]():  # what is imported late would count as slow
        run_one(target, data)
    run = Run(target, findings, arguments.seconds)
    if "atheris" in sys.modules:
        # The wall clock ends only what hangs; slow inputs are findings of Run.
        options = [f"-seed={arguments.seed}", f"-timeout={60 * SECONDS_PER_INPUT}", "-rss_limit_mb=4096"]
        options += [f"-report_slow_units={60 * SECONDS_PER_INPUT}", "-max_len=300000", f"-artifact_prefix={findings}/"]
        options += ["-print_final_stats=1"]

        def one(data: bytes) -> None:
            run.one(data)
            if run.over():
                print(run.summary(arguments.seed), flush=True)
                os.kill(os.getpid(), signal.SIGUSR1)  # libFuzzer stops in good order and prints its figures

        sys.modules["atheris"].Setup([sys.argv[0], *options, str(corpus)], one)
        sys.modules["atheris"].Fuzz()
    rng = random.Random(arguments.seed)
    inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
    while not run.over():
        run.one(fuzz_lvz().mutate(rng.choice(inputs), inputs, rng))
        if run.tried % 10_000 == 0:
            print(f"{run.tried} inputs, {memory():.1f} MiB in use", flush=True)
    print(run.summary(arguments.seed))
    return 1 if run.found else 0


def memory() -> float:
    """MiB of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Run:
    """Counts inputs, and keeps one of each kind of finding."""

    def __init__(self, target: str, findings: Path, seconds: float) -> None:
        self.target, self.findings = target, findings
        self.ends = time.process_time() + seconds
        self.tried, self.found = 0, set[str]()

    def one(self, data: bytes) -> None:
        self.tried += 1
        started = time.process_time()
        kind = ""
        try:
            run_one(self.target, data)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            words = "".join(filter(str.isalpha, str(error)))[:80]
            kind = f"{type(error).__name__} at {place.filename}:{place.lineno} {words}"
            if kind not in self.found:
                traceback.print_exc()
        if time.process_time() - started > SECONDS_PER_INPUT:
            kind = kind or "slow"
        if kind and kind not in self.found:
            self.found.add(kind)
            print(f"finding: {kind}", flush=True)
            (self.findings / hashlib.sha1(data).hexdigest()).write_bytes(data)

    def over(self) -> bool:
        return time.process_time() > self.ends

    def summary(self, seed: int) -> str:
        return f"{self.target}, seed {seed}: {self.tried} inputs, {len(self.found)} findings"


if __name__ == "__main__":
    sys.exit(main())
