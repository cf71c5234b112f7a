"""Several processes train like one with a larger batch, drop what any of them drops, and end together."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from clips import Clip
from safetensors.torch import load_file
from small_models import SMALL

from lvc.training import loop
from lvc.training.data import open_cache
from lvc.training.loop import train
from lvc.training.sampler import Sampler
from lvc.training.settings import TrainSettings

WORKER = Path(__file__).parent / "together.py"
FAST = {"muon_lr": 5e-2, "adam_lr": 5e-3}  # so that processes which learn apart differ soon


def torchrun(folder: Path, processes: int, *options: str, **settings: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, the lines of process 0, stderr."""
    given = {
        "data": [str(folder / "data")], "work": str(folder / "work"), "out": str(folder / "out.safetensors"),
        "minutes": 100, "crop": 64, "groups": 2, "chain": 4, "log_every": 1, "threads": 1, **FAST, **settings,
    }  # fmt: skip
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *options,
            str(WORKER), json.dumps(given),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    """The same settings for a training in this process, without the noise that each process draws on its own."""
    (tmp_path / "data").mkdir()
    Clip(size=(96, 80), frames=8).write(tmp_path / "data" / "a.mp4")
    Clip(size=(64, 64), frames=5).write(tmp_path / "data" / "b.mp4")
    monkeypatch.setattr(torch, "rand_like", lambda like: torch.full_like(like, 0.5))
    monkeypatch.setattr(loop, "count_symbols", lambda *_: {})
    return TrainSettings(
        data=(tmp_path / "data",), out=tmp_path / "alone.safetensors", work=tmp_path / "alone", minutes=100, crop=64,
        groups=2, chain=4, log_every=1, threads=1, config=SMALL, **FAST,
    )  # fmt: skip


def losses(lines: list[dict[str, Any]]) -> list[float]:
    """One a step; NaN of a step that was dropped."""
    return [line.get("i_loss", line.get("p_loss", math.nan)) for line in lines if line["event"] == "step"]


@pytest.mark.slow
def test_two_follow_one_with_twice_the_batch(
    alone: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over a step that is not finite for one of them."""
    steps, poison = 14, 6
    code, told, err = torchrun(tmp_path, 2, batch=2, max_steps=steps, poison=poison)
    assert code == 0, err
    original, calls = loop.forward, 0

    def forward(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(*arguments)
        if calls == poison:
            result.loss = result.loss * math.nan
        return result

    monkeypatch.setattr(loop, "forward", forward)
    wanted: list[dict[str, Any]] = []
    train(replace(alone, batch=4, max_steps=steps), wanted.append)
    ours, theirs = losses(told), losses(wanted)
    assert len(ours) == steps and [math.isnan(v) for v in ours] == [n == poison for n in range(1, steps + 1)]
    apart = max(abs(a - b) for a, b in zip(ours, theirs, strict=True) if not math.isnan(a))
    assert apart < 6e-4  # 0.00015 on one machine; 0.0019 if each learns from its own half
    assert told[0] == {**wanted[0], "processes": 2} and told[-2]["dropped"] == 1
    # only the first process wrote
    lines = [json.loads(line) for line in (tmp_path / "work" / "log.jsonl").read_text().splitlines()]
    assert lines == told
    a, b = load_file(tmp_path / "out.safetensors"), load_file(alone.out)
    assert a.keys() == b.keys()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_and_the_rest_goes_on(alone: TrainSettings, tmp_path: Path) -> None:
    code, told, err = torchrun(tmp_path, 2, "--monitor-interval=5", batch=1, max_steps=50, die=4)
    assert code != 0 and "process 0: another process of this training ended" in err
    assert [line["step"] for line in told if line["event"] == "step"] == [1, 2, 3]
    # what was saved is the third step; one process alone goes on from there
    again: list[dict[str, Any]] = []
    train(replace(alone, work=tmp_path / "work", out=tmp_path / "out.safetensors", max_steps=5), again.append)
    assert {"resumed", "done"} <= {line["event"] for line in again}
    assert [line["step"] for line in again if line["event"] == "step"] == [4, 5]


def test_shares_are_every_other_stream_of_one_draw(alone: TrainSettings, tmp_path: Path) -> None:
    clips = open_cache(alone.data, tmp_path / "cache", 432, 120, 0, print)
    whole = Sampler(clips, replace(alone, batch=6), random.Random(3)).streams(4)
    shares = [Sampler(clips, replace(alone, batch=2), random.Random(3), rank, 3).streams(4) for rank in range(3)]
    shown = [[frame[0].tobytes() for frame in stream] for stream in whole]
    assert len({len(frames) for frames in shown}) == 1
    for rank, share in enumerate(shares):
        assert [[frame[0].tobytes() for frame in stream] for stream in share] == shown[rank::3]
