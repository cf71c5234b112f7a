"""Draw a training log: python scripts/plot_training.py WORK/log.jsonl OUT.png (needs matplotlib, extra `eval`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

CURVES = (("loss", "loss"), ("rd", "λ·MSE + bits per pixel"), ("psnr", "PSNR 6:1:1 (dB)"), ("bpp", "bits per pixel"))
KINDS = (("p_", "predicted frames"), ("i_", "key frames"))


def smooth(values: list[float], n: int = 15) -> list[float]:
    """Running mean over `n` entries of the log."""
    return [sum(values[max(0, i - n + 1) : i + 1]) / len(values[max(0, i - n + 1) : i + 1]) for i in range(len(values))]


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    steps = [r for r in rows if r["event"] == "step"]
    resumed = [r["minutes"] for r in rows if r["event"] == "resumed"]
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), constrained_layout=True)
    for axis, (key, title) in zip(axes.flat, CURVES, strict=True):
        for prefix, name in KINDS:
            # a loss beyond any bound is a run gone wrong; it is cut off, not hidden: the axis is logarithmic
            points = [(r["minutes"], min(r[prefix + key], 1e3)) for r in steps if prefix + key in r]
            axis.plot([x for x, _ in points], smooth([y for _, y in points]), label=name)
        for minute in resumed:
            axis.axvline(minute, color="0.8", linewidth=0.8, zorder=0)
        axis.set_title(title)
        axis.set_xlabel("minutes of training (grey: resumed)")
        shown = [line for line in axis.lines if len(line.get_ydata()) > 2]
        if key in ("loss", "rd") and all(line.get_ydata().min() > 0 for line in shown):
            axis.set_yscale("log")  # logarithmic losses are below 0
        axis.legend()
    figure.savefig(sys.argv[2], dpi=100)
    return 0


if __name__ == "__main__":
    sys.exit(main())
