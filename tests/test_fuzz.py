"""Replays what `scripts/fuzz.py` found or saw something new in, and its seeds; new inputs take a run of the script."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import fuzz

ROOT = Path(__file__).resolve().parents[1]
CORPUS = sorted(p for p in (ROOT / "tests" / "fuzz").rglob("*") if p.is_file() and p.suffix != ".md")


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_the_corpus_and_the_seeds_are_no_findings(target: str) -> None:
    kept = [path.read_bytes() for path in CORPUS if path.parent.name == target]
    assert kept, "scripts/fuzz.py keeps a corpus for every target"
    for data in [*kept, *fuzz.TARGETS[target][1]()]:
        fuzz.run_one(target, data)


def test_a_finding_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(fuzz.TARGETS, "broken", (broken, list))
    with pytest.raises(ZeroDivisionError):
        fuzz.run_one("broken", b"")
