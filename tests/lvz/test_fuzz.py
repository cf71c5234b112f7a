"""Replays fuzz findings, runs the fuzzer for a moment, and bounds memory on hostile files."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

from scripts import fuzz_lvz as fuzz

ROOT = Path(__file__).resolve().parents[2]
FINDINGS = sorted((Path(__file__).parent / "findings").glob("*.lvz"))
VECTORS = sorted((ROOT / "formats" / "vectors").glob("*.lvz"))


def test_findings_stay_fixed() -> None:
    for path in FINDINGS:
        assert fuzz.check(path.read_bytes()) is None, path.name


def test_a_few_hundred_mutations() -> None:
    rng = random.Random(20)
    vectors = [p.read_bytes() for p in VECTORS]
    for _ in range(400):
        data = fuzz.mutate(rng.choice(vectors), vectors, rng)
        assert fuzz.check(data) is None, data.hex()


def test_mended_files_are_whole_again() -> None:
    for path in VECTORS:
        if path.name.startswith("good-") and path.stem != "good-appended":
            assert fuzz.mend(path.read_bytes()) == path.read_bytes(), path.name


def test_hostile_files_take_little_memory() -> None:
    tracemalloc.start()
    try:
        for path in VECTORS:
            data = path.read_bytes()
            tracemalloc.reset_peak()
            assert fuzz.check(data) is None
            assert tracemalloc.get_traced_memory()[1] < 16 << 20, path.name
    finally:
        tracemalloc.stop()
