"""A call of the library changes nothing of its process: that belongs to the program that calls, which may be a training
or a server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import small_models
from tests.helpers.clips import Audio, Clip

PROGRAM = """
import gc, hashlib, locale, logging, os, random, signal, sys, threading, warnings
from pathlib import Path

import numpy as np
import torch

torch.set_num_threads(3)
folder, model = Path(sys.argv[1]), sys.argv[2]


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def limits():
    if sys.platform == "win32":
        return None
    import resource
    return [resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")]


def state():
    return {
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "random numbers": (
            hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
            hashlib.sha256(np.random.get_state()[1].tobytes()).hexdigest(), hash(random.getstate()),
        ),
        "default type": torch.get_default_dtype(), "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "signals": {n: signal.getsignal(n) for n in signal.valid_signals()},
        "environment": dict(os.environ), "folder": os.getcwd(), "umask": umask(), "limits": limits(),
        "locale": locale.setlocale(locale.LC_ALL), "floats": np.geterr(), "recursion": sys.getrecursionlimit(),
        "warnings": list(warnings.filters), "logging": (logging.root.level, list(logging.root.handlers)),
        "streams": (sys.stdin, sys.stdout, sys.stderr), "hooks": (sys.excepthook, threading.excepthook),
        "scheduler": os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None,
        "nice": os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else None,
        "collector": (gc.isenabled(), gc.get_threshold()), "switches": sys.getswitchinterval(),
    }


def jobs():
    import lvc
    from lvc.latents import pack_latents, unpack_latents

    source, coded = folder / "a.mkv", folder / "a.lvz"
    yield "encode", lambda: lvc.encode_file(source, coded, model=model, threads=1, verify=True)
    yield "decode to H.264", lambda: lvc.decode_file(coded, folder / "a.mp4", threads=1)
    yield "decode to HEVC", lambda: lvc.decode_file(coded, folder / "b.mp4", codec="hevc", threads=1)
    yield "decode to AV1", lambda: lvc.decode_file(coded, folder / "c.mkv", codec="av1", threads=1)
    yield "frames", lambda: list(lvc.decode(coded, threads=1))
    yield "half of the frames", lambda: next(lvc.decode(coded, threads=1))
    yield "open", lambda: list(lvc.open(coded).between(0.1, 0.3))
    yield "frames in", lambda: lvc.encode([np.zeros((48, 64, 3), np.uint8)] * 3, fps=25, model=model, threads=1)
    yield "facts", lambda: (lvc.info_file(coded), lvc.verify_file(coded, full=True))
    yield "interpolate", lambda: lvc.interpolate_file(source, folder / "d.mp4", end=0.2, threads=1)
    np.save(folder / "x.npy", np.arange(4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8) % 7)
    yield "pack", lambda: pack_latents([folder / "x.npy"], folder / "x.lvz")
    yield "unpack", lambda: unpack_latents(folder / "x.lvz", folder / "x.safetensors")


def fails(job):
    try:
        job()
    except Exception:
        return
    raise SystemExit("no error")


import lvc
first = state()
for name, job in jobs():
    job()
    later = state()
    changed = [f"{key}: {first[key]} is now {later[key]}" for key in first if first[key] != later[key]]
    assert not changed, (name, changed)
(folder / "bad.lvz").write_bytes((folder / "a.lvz").read_bytes()[:-200])
fails(lambda: lvc.decode_file(folder / "bad.lvz", folder / "e.mp4"))
fails(lambda: lvc.encode_file(folder / "no", folder / "f.lvz"))
assert state() == first
"""


@pytest.mark.slow
def test_library_calls_change_nothing_of_the_process(tmp_path: Path) -> None:
    Clip(frames=10, audio=[Audio("aac")]).write(tmp_path / "a.mkv")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(small_models.model_file())], capture_output=True, text=True,
        env=os.environ | {"LVC_MODELS": str(small_models.model_file().parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "" and done.stderr == ""  # nor does it print
