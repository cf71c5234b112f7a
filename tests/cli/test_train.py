"""`lvc train` as a process: it writes a model that encodes, and an interrupted run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Lvc

SMALL = ["--batch", "1", "--crop", "64", "--chain", "2", "--max-height", "144", "--threads", "2"]


@pytest.mark.slow
def test_train_and_go_on(lvc: Lvc, carphone: Path) -> None:
    first = lvc("train", carphone, "--out", "m.safetensors", "--max-steps", "2", "--json", *SMALL)
    assert first.code == 0, first.err
    assert {"data", "done"} <= {event["event"] for event in first.events}
    assert {(event["command"], event["file"]) for event in first.events} == {("train", "m.safetensors")}
    assert (lvc.folder / "m.safetensors").exists() and (lvc.folder / "m.work" / "log.jsonl").exists()
    again = lvc("train", carphone, "--out", "m.safetensors", "--max-steps", "3", "--json", *SMALL)
    assert again.code == 0 and "resumed" in {event["event"] for event in again.events}
    assert again.events[-1]["event"] == "done" and again.events[-1]["step"] == 3
    assert lvc("encode", carphone, "a.lvz", "--model", "m.safetensors", "--duration", "0.2").code == 0


def test_usage(lvc: Lvc, carphone: Path) -> None:
    assert lvc("train", carphone).code == 2
    missing = lvc("train", carphone, "nothing-here", "--out", "m.safetensors", "--max-steps", "1")
    assert missing.code == 3 and "lvc: error: nothing-here: no such file or folder" in missing.err
    missing = lvc("train", carphone, "--init", "absent.safetensors", "--out", "m.safetensors", "--max-steps", "1")
    assert missing.code == 3 and "lvc: error: absent.safetensors: no such file" in missing.err
    assert not list(lvc.folder.glob("m.*"))  # nothing was begun
