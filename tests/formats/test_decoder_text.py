"""Numbers of formats/decoder.md are those of the engine."""

from __future__ import annotations

import re
from pathlib import Path

from lvc.engine import motion_reference, planes, program, rans_reference, reference

TEXT = (Path(__file__).resolve().parents[2] / "formats" / "decoder.md").read_text(encoding="utf-8")


def test_contexts_start_as_the_text_says() -> None:
    block = TEXT.split("```text\n")[1].split("```")[0]
    assert [int(n) for n in block.split()] == [c.quick for c in motion_reference.start()]


def test_kinds_of_contexts_add_up() -> None:
    rows = re.findall(
        r"^\| (?:split|merge|index|both|second|guess|not 0, .|class|skip|copy|exposure) \| ([\d, ]+) \|", TEXT, re.M
    )
    total = 0
    for sizes in rows:
        count = 1
        for size in sizes.split(","):
            count *= int(size)
        total += count
    assert len(rows) == 12 and total == motion_reference.CONTEXTS


def test_filters() -> None:
    def numbers(line: str) -> list[list[int]]:
        found = re.findall(r"\d: ((?:[−\d]+ ?)+)", line)
        return [[int(n) for n in part.replace("−", "-").split()] for part in found]

    luma, chroma = (next(row for row in TEXT.splitlines() if row.startswith(f"    {k} ")) for k in ("luma", "chroma"))
    assert numbers(luma) == motion_reference.LUMA_FILTERS.tolist()
    assert numbers(chroma) == motion_reference.CHROMA_FILTERS.tolist()


def test_constants() -> None:
    square = " / ".join(" ".join(map(str, row)) for row in reference.SQUARE)
    assert f"SQUARE = {square}" in TEXT
    low, high = rans_reference.BIT_MIN, rans_reference.ONE - rans_reference.BIT_MIN
    assert f">> 1, {low}, {high})" in TEXT
    assert f"{program.MAX_MACS:,} multiplications and {program.MAX_BYTES} bytes" in TEXT
    assert f"clamp({planes.KEY_OFFSET} + ((v + 4) >> {planes.KEY_SHIFT}), 0, {planes.SAMPLE_MAX})" in TEXT
    limits = (program.MAX_PROGRAMS, program.MAX_LAYERS, program.MAX_TENSORS, program.MAX_SOURCES)
    assert "at most {} programs, {} layers and {} tensors each, 1 … {} sources".format(*limits) in TEXT
