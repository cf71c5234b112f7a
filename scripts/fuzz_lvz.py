#!/usr/bin/env python3
"""Mutates the conformance vectors for some seconds and looks for anything but lvc's own errors.

    python scripts/fuzz_lvz.py [--seconds 30] [--seed N] [--out FOLDER]

A finding is an exception that is not an `LvcError`, a run that takes longer than 5 s, or a file on which `lvc` and
`formats/lvz_reader.py` disagree about whether it is whole. More than half of the mutations mend the checksums, so that
the parsers behind them are reached. Findings are stored by their hash in `tests/lvz/findings/`; the tests replay them.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import random
import sys
import time
import zlib
from pathlib import Path
from types import ModuleType

from lvc.entropy.clip import unpack_verified
from lvc.entropy.model_file import model_file
from lvc.errors import LvcError
from lvc.lvz import PACKING_ZSTD, LvzReader, clips_only

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "tests" / "lvz" / "findings"
BASE_MODEL = (ROOT / "formats" / "vectors" / "base-model.bin").read_bytes()
SECONDS_PER_FILE = 5.0
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF)


def load_second_reader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lvz_reader", ROOT / "formats" / "lvz_reader.py")
    if spec is None or spec.loader is None:
        raise SystemExit("formats/lvz_reader.py is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SECOND = load_second_reader()


def read_strictly(data: bytes) -> None:
    """Everything that can be asked of a file, with the latents; raises `LvcError` if it is not whole."""
    r = LvzReader(io.BytesIO(data))
    _ = r.index, r.tail, r.metadata, r.duration_seconds
    list(r.records_from(0.01, 0.2))
    r.verify()
    if r.model_chunk is not None:
        model_file(r.model_chunk, r.header.model_sha256, BASE_MODEL)
    for clip in clips_only(r.records()):
        if r.video.packing == PACKING_ZSTD:
            n = r.video.geometry.latent_frames(clip.n_frames)
            unpack_verified(clip.payload, r.video.geometry, n, clip.latents_crc, clip.key)


def check(data: bytes) -> str | None:
    """What is wrong with how this file is treated; None if all is well."""
    started = time.process_time()  # of the processor: the machine may be busy
    result = "ok"
    try:
        read_strictly(data)
    except LvcError as error:
        result = type(error).__name__
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return f"lvc raised {type(error).__name__}: {error}"
    try:
        list(LvzReader(io.BytesIO(data), salvage=True).records())
    except LvcError:
        pass
    except Exception as error:  # noqa: BLE001
        return f"salvage raised {type(error).__name__}: {error}"
    other = "ok"
    try:
        SECOND.read_file(io.BytesIO(data), base=BASE_MODEL)
    except SECOND.LvzError as error:
        other = type(error).__name__
    except Exception as error:  # noqa: BLE001
        return f"the second reader raised {type(error).__name__}: {error}"
    if (result == "ok") != (other == "ok"):
        return f"lvc says {result}, the second reader {other}"
    if time.process_time() - started > SECONDS_PER_FILE:
        return f"took {time.process_time() - started:.1f} s"
    return None


def mend(data: bytes) -> bytes:
    """Recomputes the CRCs of chunks that can be walked, `TAIL`'s SHA-256, and its and `INDX`'s offset."""
    out, at, index_at = bytearray(data[:8]), 8, 0
    while at + 12 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 12 + size > len(data):
            break
        chunk = bytearray(data[at : at + 8 + size])
        if chunk[:4] == b"INDX":
            index_at = len(out)
        if chunk[:4] == b"TAIL" and size == 72:
            chunk[8:16] = index_at.to_bytes(8, "little")
            chunk[48:80] = hashlib.sha256(out).digest()
        out += chunk + zlib.crc32(chunk).to_bytes(4, "little")
        at += 12 + size
    return bytes(out + data[at:])


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        if not out:
            break
        at, way = rng.randrange(len(out)), rng.randrange(8)
        if way <= 2:
            out[at] ^= 1 << rng.randrange(8)
        elif way == 3:
            out[at] = rng.choice(INTERESTING)
        elif way == 4:
            out[at] = (out[at] + rng.choice((1, -1))) % 256
        elif way == 5:
            del out[at : at + rng.randrange(1, 20)]
        elif way == 6:
            out[at:at] = rng.randbytes(rng.randrange(1, 8))
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            out[at : at + rng.randrange(40)] = other[start : start + rng.randrange(40)]
    mutated = bytes(out)
    if rng.random() < 0.2:
        mutated = swap_chunks(mutated, rng)
    return mend(mutated) if rng.random() < 0.6 else mutated


def swap_chunks(data: bytes, rng: random.Random) -> bytes:
    """Drops, repeats or exchanges whole chunks."""
    parts, at = [], 8
    while at + 12 <= len(data) and at + 12 + int.from_bytes(data[at + 4 : at + 8], "little") <= len(data):
        size = 12 + int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append(data[at : at + size])
        at += size
    if parts:
        a, b = rng.randrange(len(parts)), rng.randrange(len(parts))
        way = rng.randrange(3)
        if way == 0:
            del parts[a]
        elif way == 1:
            parts.insert(b, parts[a])
        else:
            parts[a], parts[b] = parts[b], parts[a]
    return data[:8] + b"".join(parts) + data[at:]


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzzes the readers of .lvz files.")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--out", type=Path, default=FINDINGS)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else time.time_ns() % (1 << 32)
    rng = random.Random(seed)
    vectors = [p.read_bytes() for p in sorted((ROOT / "formats" / "vectors").glob("*.lvz"))]
    good = [p.read_bytes() for p in sorted((ROOT / "formats" / "vectors").glob("good-*.lvz"))]
    ends = time.monotonic() + arguments.seconds
    tried, findings = 0, 0
    while time.monotonic() < ends:
        data = mutate(rng.choice(good if rng.random() < 0.8 else vectors), vectors, rng)
        tried += 1
        problem = check(data)
        if problem is not None:
            findings += 1
            arguments.out.mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(data).hexdigest()[:16]
            (arguments.out / f"{name}.lvz").write_bytes(data)
            print(f"{name}.lvz: {problem}")
    print(f"seed {seed}: {tried} files, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
