"""Trained weights as they are kept in Git, and states of the training scripts made of them.

python research/weights.py keep STATE.pt OUT.safetensors     # averaged weights in float16
python research/weights.py state IN.safetensors OUT.pt       # what training, *_val.py and rd_pyramid.py read
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lvc.training.loop import small, write


def keep(state: Path, out: Path) -> None:
    full = torch.load(state, map_location="cpu", weights_only=True)
    weights = {k: v.half().contiguous() for k, v in (full["ema"] or full["model"]).items()}
    save_file(weights, out, {"step": str(full["step"]), "minutes": f"{full.get('seconds', 0) / 60:.1f}"})


def state(kept: Path, out: Path) -> None:
    with safe_open(kept, "pt") as f:
        step = int(f.metadata()["step"])
    write(small({k: v.float() for k, v in load_file(kept).items()}, step), out)


if __name__ == "__main__":
    {"keep": keep, "state": state}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
