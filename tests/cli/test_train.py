"""`lvc train` as a process: it writes a model that encodes, and an interrupted run goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import Lvc

SMALL = ["--batch", "1", "--crop", "64", "--threads", "1"]


@pytest.mark.slow
def test_train_and_encode(lvc: Lvc, carphone: Path) -> None:
    done = lvc("train", carphone, "--out", "m.safetensors", "--max-steps", "1", "--json", *SMALL)
    assert done.code == 0, done.err
    assert {"data", "stage", "done"} <= {event["event"] for event in done.events}
    assert {(event["command"], event["file"]) for event in done.events} == {("train", "m.safetensors")}
    assert (lvc.folder / "m.work").is_dir() and (lvc.folder / "m.weights.safetensors").exists()
    assert lvc("encode", carphone, "a.lvz", "--model", "m.safetensors", "--duration", "0.2").code == 0


@pytest.mark.slow
def test_usage(lvc: Lvc, carphone: Path) -> None:
    assert lvc("train", carphone).code == 2
    missing = lvc("train", carphone, "nothing-here", "--out", "m.safetensors", "--max-steps", "1")
    assert missing.code == 3 and "lvc: error: nothing-here: no such file or folder" in missing.err
    missing = lvc("train", carphone, "--start", "absent.safetensors", "--out", "m.safetensors", "--max-steps", "1")
    assert missing.code == 3 and "lvc: error: absent.safetensors: no such file" in missing.err
    assert not list(lvc.folder.glob("m.*"))  # nothing was begun


@pytest.mark.slow
def test_curves_at_any_time(lvc: Lvc) -> None:
    pytest.importorskip("matplotlib")
    (lvc.folder / "m.log.jsonl").write_text(
        '{"event": "step", "stage": "intra", "minutes": 1, "loss": 2.0, "d": 0.1, "bpp": 0.2}\n' * 2
    )
    done = lvc("train", "m.safetensors", "--plot")
    assert done.code == 0 and "m.png" in done.err, done.err
    assert (lvc.folder / "m.png").read_bytes().startswith(b"\x89PNG")
    done = lvc("train", "n.safetensors", "--plot")
    assert done.code == 2 and "n.log.jsonl" in done.err
