"""docs/python.md: its programs run, its names are the public ones, and every public name says what it does."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

import lvc

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT = (DOCS / "python.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_programs_run(tmp_path: Path, bunny: Path) -> None:
    lvc.encode_file(bunny, tmp_path / "holiday.lvz", resolution="160x90", fps="10", duration=3)
    lvc.decode_file(tmp_path / "holiday.lvz", tmp_path / "holiday.mp4")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(90, 160, 3) uint8 1.96 s" in done.stdout and "<lvc.Frame 160x90 at 1.200 s> 10 3 4" in done.stdout
    assert done.stdout.count("torch.Size([10, 3, 90, 160])") == 3
    assert re.search(r"again\.lvz [\d.]+ [\d.]+ 0\.\d+", done.stdout)
    assert {"camera.lvz", "irregular.lvz", "frame.png", "again.mkv"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_example_records_finds_and_saves(tmp_path: Path, carphone: Path) -> None:
    program = DOCS / "examples" / "record_and_find.py"
    assert len(program.read_text(encoding="utf-8").splitlines()) <= 40
    with av.open(str(carphone)) as container:
        picture = next(itertools.islice(container.decode(video=0), 90, None)).to_image()
    picture.save(tmp_path / "query.jpg")
    command = [sys.executable, str(program), str(carphone), "archive", "query.jpg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "120 frames 176x144" in done.stdout and re.search(
        r"camera\.lvz: [23]\.\d to [34]\.\d s, score (0\.9|1)", done.stdout
    )
    assert (tmp_path / "archive" / "found-0.png").read_bytes().startswith(b"\x89PNG")


def test_every_public_name_is_there() -> None:
    table = TEXT.split("| name | |")[1]
    assert set(re.findall(r"`(\w+)`", table.split("\n\n")[0])) == set(lvc._PUBLIC)
    assert {*lvc.__all__, "open"} == {*lvc._PUBLIC, "__version__"}
    for name in lvc._PUBLIC:
        assert getattr(lvc, name) is not None
    names: dict[str, object] = {}
    exec("from lvc import *", names)
    assert "open" not in names and names["Video"] is lvc.Video


def section(doc: str, name: str) -> list[str]:
    """The names that a section of a Google-style docstring explains, in order."""
    lines = inspect.cleandoc(doc).splitlines()
    if f"{name}:" not in lines:
        return []
    names = []
    for line in lines[lines.index(f"{name}:") + 1 :]:
        if line and not line.startswith(" "):
            break
        if match := re.match(r" {4}(\w+): \S", line):
            names.append(match[1])
    return names


def has(doc: str, name: str) -> bool:
    return f"{name}:" in inspect.cleandoc(doc).splitlines()


def gaps_of_a_call(name: str, call: Any) -> Iterator[str]:
    doc = call.__doc__
    if not doc:
        yield f"{name}: no docstring"
        return
    signature = inspect.signature(call)
    wanted = [p for p in signature.parameters if p != "self"]
    if section(doc, "Args") != wanted:
        yield f"{name}: Args explain {section(doc, 'Args')} and not {wanted}"
    returned = str(signature.return_annotation)
    if returned != "None" and not (has(doc, "Returns") or has(doc, "Yields")):
        yield f"{name}: no Returns"
    if wanted and not has(doc, "Raises") and name != "open":  # which reads nothing
        yield f"{name}: no Raises"


def gaps_of_a_class(name: str, kind: type[Any]) -> Iterator[str]:
    if not kind.__doc__ or kind.__doc__.startswith(f"{kind.__name__}("):
        yield f"{name}: no docstring"
        return
    if dataclasses.is_dataclass(kind):
        fields = [field.name for field in dataclasses.fields(kind)]
        if section(kind.__doc__, "Attributes") != fields:
            yield f"{name}: Attributes explain {section(kind.__doc__, 'Attributes')} and not {fields}"
    elif name != "Video":  # `open` makes it, with these arguments
        yield from gaps_of_a_call(f"{name}.__init__", kind.__init__)
    for member, value in inspect.getmembers(kind):
        if member.startswith("_") or getattr(value, "__module__", "lvc").split(".")[0] != "lvc":
            continue
        if isinstance(value, property):
            if not value.__doc__:
                yield f"{name}.{member}: no docstring"
        elif inspect.isfunction(value) and member != "fields":
            yield from gaps_of_a_call(f"{name}.{member}", value)


@pytest.mark.parametrize("name", sorted({*lvc.__all__, "open"} - {"__version__"}))
def test_every_public_name_says_what_it_takes_gives_and_raises(name: str) -> None:
    value = getattr(lvc, name)
    if isinstance(value, type) and issubclass(value, Exception):
        gaps = [] if value.__doc__ else [f"{name}: no docstring"]
    else:
        gaps = list((gaps_of_a_class if isinstance(value, type) else gaps_of_a_call)(name, value))
    assert not gaps, "\n".join(gaps)


@pytest.mark.parametrize(
    ("call", "options"),
    [("encode_file", "EncodeOptions"), ("decode_file", "DecodeOptions"), ("verify_file", "VerifyOptions")],
)
def test_a_function_has_the_arguments_of_its_options(call: str, options: str) -> None:
    import lvc.options

    parameters = inspect.signature(getattr(lvc, call)).parameters
    fields = {field.name: field.default for field in dataclasses.fields(getattr(lvc.options, options))}
    beside = {"source", "target", "path", "force", "progress", "notice"}
    assert {name: p.default for name, p in parameters.items() if name not in beside} == fields


def test_encode_has_the_arguments_of_a_writer() -> None:
    one, other = (inspect.signature(call).parameters for call in (lvc.encode, lvc.Writer))
    only_a_writer = {"target", "width", "height", "verify", "force"}
    assert {n: p.default for n, p in one.items() if n not in ("frames", "fps")} == {
        n: p.default for n, p in other.items() if n not in only_a_writer and n != "fps"
    }
