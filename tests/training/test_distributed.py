"""Several processes train like one with a larger batch, drop what any of them drops, and end together."""

from __future__ import annotations

import json
import math
import random
import socket
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


def command(folder: Path, *options: str, **settings: Any) -> list[str]:
    given = {
        "data": [str(folder / "data")], "work": str(folder / "work"), "out": str(folder / "out.safetensors"),
        "minutes": 100, "crop": 64, "groups": 2, "chain": 4, "log_every": 1, "threads": 1, **FAST, **settings,
    }  # fmt: skip
    return [sys.executable, "-m", "torch.distributed.run", *options, str(WORKER), json.dumps(given)]


def torchrun(folder: Path, *options: str, **settings: Any) -> tuple[int, list[dict[str, Any]], str]:
    """Two processes: exit code, the lines of process 0, stderr."""
    arguments = command(folder, "--standalone", "--nproc-per-node=2", *options, **settings)
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
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
    code, told, err = torchrun(tmp_path, batch=2, max_steps=steps, poison=poison)
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
    assert apart < 1e-3  # 0.0007 (a vector decided otherwise); 0.0019 if each learns from its own half
    assert told[0] == {**wanted[0], "processes": 2} and told[-2]["dropped"] == 1
    # only the first process wrote
    lines = [json.loads(line) for line in (tmp_path / "work" / "log.jsonl").read_text().splitlines()]
    assert lines == told
    a, b = load_file(tmp_path / "out.safetensors"), load_file(alone.out)
    assert a.keys() == b.keys()


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_and_the_rest_goes_on(alone: TrainSettings, tmp_path: Path) -> None:
    code, told, err = torchrun(tmp_path, "--monitor-interval=5", batch=1, max_steps=50, die=4)
    assert code != 0 and "process 0: another process of this training ended" in err
    assert [line["step"] for line in told if line["event"] == "step"] == [1, 2, 3]
    # what was saved is the third step; one process alone goes on from there
    again: list[dict[str, Any]] = []
    train(replace(alone, work=tmp_path / "work", out=tmp_path / "out.safetensors", max_steps=5), again.append)
    assert {"resumed", "done"} <= {line["event"] for line in again}
    assert [line["step"] for line in again if line["event"] == "step"] == [4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_two_machines(alone: TrainSettings, tmp_path: Path, same: bool) -> None:
    """Without a shared folder: the second one makes a cache of its own, and nothing else."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    machines = [
        subprocess.Popen(
            command(
                tmp_path, "--nnodes=2", f"--node-rank={number}", "--master-addr=127.0.0.1", f"--master-port={port}",
                work=str(tmp_path / f"work{number}"), batch=1, seed=0 if same else number, max_steps=2,
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    said = [machine.communicate(timeout=120) for machine in machines]
    written = [sorted(p.name for p in (tmp_path / f"work{number}").iterdir()) for number in range(2)]
    assert written[1] == ["cache"] and len(list((tmp_path / "work1" / "cache").glob("*.bin"))) == 2
    if same:
        assert [machine.returncode for machine in machines] == [0, 0], said
        assert written[0] == ["cache", "log.jsonl", "state.safetensors"] and said[1][0] == ""
    else:
        assert all(machine.returncode for machine in machines)
        assert all("process 1 sees other footage or has other options" in err for _, err in said)


def test_shares_are_every_other_stream_of_one_draw(alone: TrainSettings, tmp_path: Path) -> None:
    clips = open_cache(alone.data, tmp_path / "cache", 432, 120, 0, print)
    whole = Sampler(clips, replace(alone, batch=6), random.Random(3)).streams(4)
    shares = [Sampler(clips, replace(alone, batch=2), random.Random(3), rank, 3).streams(4) for rank in range(3)]
    shown = [[frame[0].tobytes() for frame in stream] for stream in whole]
    assert len({len(frames) for frames in shown}) == 1
    for rank, share in enumerate(shares):
        assert [[frame[0].tobytes() for frame in stream] for stream in share] == shown[rank::3]
