"""docs/events.schema.json: what commands really print under --json is valid by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="comes with check-jsonschema")
SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "events.schema.json").read_text(encoding="utf-8"))
COMMANDS = [
    ["encode", "clip.mp4", "clip.lvz", "--resolution", "160x90", "--fps", "10", "--duration", "1"],
    ["encode", "clip.mp4", "again.lvz", "--resolution", "160x90", "--duration", "1", "--dry-run"],
    ["info", "clip.lvz"],
    ["verify", "clip.lvz", "--full"],
    ["decode", "clip.lvz", "back.mp4"],
    ["decode", ".", "--output-dir", "out"],
    ["interpolate", "clip.lvz", "smooth.mkv", "--dry-run"],
    ["features", "clip.lvz", "clip.npz"],
    ["search", "index", "clip.lvz", "back.mp4", "--db", "db"],
    ["search", "query", "clip.lvz", "--db", "db"],
    ["search", "duplicates", "--db", "db"],
    ["tag", "fit", "labels.csv", "--db", "db"],
    ["tag", "--db", "db", "--threshold", "0"],
    ["search", "tags", "--db", "db"],
    ["info", "absent.lvz"],
]


def run(arguments: list[str], folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "lvc", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "LVC_THREADS": "1"})
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_real_output(tmp_path: Path, bunny: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(bunny.read_bytes())
    (tmp_path / "labels.csv").write_text("file,label,start,end\nclip.lvz,rabbit\nback.mp4,\n")
    validator = jsonschema.Draft202012Validator(SCHEMA)
    kinds = set()
    for arguments in COMMANDS:
        events = run(arguments, tmp_path)
        assert events, arguments
        for event in events:
            kinds.add((event["event"], event["command"]))
            wrong = [f"{'/'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(event)]
            assert not wrong, (arguments, event, wrong)
    assert len(kinds) >= 14


@pytest.mark.parametrize(
    "change",
    [{"frames": "5"}, {"frames": None}, {"damage": "none"}, {"event": None}],
    ids=["text", "missing", "no list", "no event"],
)
def test_wrong_output_is_noticed(change: dict[str, Any]) -> None:
    sizes = {"frames": 5, "width": 160, "height": 90, "bytes_in": None, "bytes_out": 9}
    event = {"event": "done", "command": "decode", "file": "a.lvz", "output": "a.mp4", "duration": 0.2, **sizes}
    event |= {"seconds": 0.1, "fps": 50.0, "damage": []}
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert validator.is_valid(event)
    changed = {name: value for name, value in (event | change).items() if value is not None or name == "bytes_in"}
    assert not validator.is_valid(changed)
