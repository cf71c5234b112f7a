#!/usr/bin/env python3
"""Writes docs/benchmarks.md and its curves from what `lvc eval --json` printed; needs lvc[plot].

lvc eval CLIPS… --qualities 15,35,55,75 --anchors x264:medium@17/23/29/35,… --threads 1 --resume --json > eval.jsonl
scripts/benchmarks_page.py eval.jsonl --machine "2 cores of an Intel Xeon, loaded" --date 2026-11-29
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt  # noqa: E402 - after the choice of its backend
from matplotlib.ticker import NullFormatter  # noqa: E402

DOCS = Path(__file__).resolve().parent.parent / "docs"
METRICS = {"psnr_y": "PSNR-Y", "vmaf": "VMAF", "ssim_y": "SSIM-Y", "psnr_611": "PSNR 6:1:1"}
CURVE = "psnr_y"
COUNTED = {
    False: "the video's bytes of the `.lvz`, and the encoders' bare streams",
    True: "every byte of the `.lvz`, and of the encoders' MP4",
}


def curves(points: list[dict[str, Any]], file: Path) -> None:
    """Rate–distortion curves, one panel for each clip."""
    matplotlib.rcParams["svg.hashsalt"] = "lvc"  # the same figure twice is the same file
    clips = list(dict.fromkeys(p["clip"] for p in points))
    figure, panels = plt.subplots(1, len(clips), figsize=(4.2 * len(clips), 3.6), squeeze=False)
    for panel, clip in zip(panels[0], clips, strict=True):
        for codec in dict.fromkeys(p["codec"] for p in points):
            line = sorted((p["bpp"], p[CURVE]) for p in points if p["clip"] == clip and p["codec"] == codec)
            style = {"linewidth": 2.2, "color": "black"} if codec == "lvc" else {"linewidth": 1.1}
            panel.plot(*zip(*line, strict=True), marker="o", markersize=3, label=codec.replace(":", " "), **style)
        panel.set(title=clip, xscale="log", xlabel="bits per luma sample")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3, which="both")
    panels[0][0].set_ylabel(f"{METRICS[CURVE]} (dB)")
    panels[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def signed(value: float | None, note: str | None = None) -> str:
    return (note or "–") if value is None else f"{value:+.1f} %".replace("-", "−")


def rates(verdicts: list[dict[str, Any]]) -> str:
    """BD-rates of lvc: each clip in one metric, then the means of all."""
    anchors = list(dict.fromkeys(v["anchor"] for v in verdicts))
    clips = list(dict.fromkeys(v["clip"] for v in verdicts))
    found = {(v["clip"], v["anchor"], v["metric"]): v for v in verdicts}
    rows = [
        [clip, *(signed(found[clip, a, CURVE]["bd_rate"], found[clip, a, CURVE]["note"]) for a in anchors)]
        for clip in clips
    ]
    for metric, name in METRICS.items():
        means = []
        for a in anchors:
            known = [found[c, a, metric]["bd_rate"] for c in clips if (c, a, metric) in found]
            values = [value for value in known if value is not None]
            means.append(f"{signed(statistics.fmean(values))} ({len(values)})" if values else "–")
        rows.append([f"**mean, {name}**", *means])
    return table([f"BD-rate, {METRICS[CURVE]}", *(f"{a.replace(':', ' ')}" for a in anchors)], rows)


def speeds(points: list[dict[str, Any]]) -> str:
    """Milliseconds of processor time a frame, start-up included: the median of a codec's points."""
    rows = []
    for codec in dict.fromkeys(p["codec"] for p in points):
        times = [
            statistics.median(1000 * p[f"{job}_cpu_seconds"] / p["frames"] for p in points if p["codec"] == codec)
            for job in ("encode", "decode")
        ]
        rows.append([codec.replace(":", " "), *(f"{t:.0f} ms" for t in times)])
    return table(["codec", "encode", "decode"], rows)


def page(events: list[dict[str, Any]], machine: str, date: str) -> str:
    points = [e for e in events if e["event"] == "point" and not e.get("error")]
    done = next(e for e in events if e["event"] == "done")
    clips, frames = len({p["clip"] for p in points}), max(p["frames"] for p in points)
    width, height = max((p["width"], p["height"]) for p in points)
    model = next(p["model"] for p in points if p["codec"] == "lvc")
    counted = COUNTED[done["settings"]["whole_files"]]
    versions = {name.partition("@")[0]: value for name, value in done["versions"].items()}
    return f"""# Benchmarks

<!-- made by scripts/benchmarks_page.py; do not edit -->

Measured with `lvc eval`. [What counts](evaluation.md#which-bytes-count): {counted}. The
[model card](../checkpoints/default.md) has the BD-rates of all ten clips of `val`.

| | |
|---|---|
| date | {date} |
| machine | {machine} |
| clips | {clips}, at most {width}×{height}, first {frames} frames |
| threads | {done["threads"]} |
| model | {model} |
| versions | {", ".join(f"{name}: {value}" for name, value in versions.items())} |

![Rate–distortion curves](benchmarks.svg)

## Size at equal quality

How many more bits lvc needs than each encoder; negative: fewer. In brackets: how many clips have a figure.

{rates([e for e in events if e["event"] == "verdict"])}
## Speed

Processor time a frame, the median of all points. It includes the start of the process, which weighs heavily in
{frames} frames, and grows when other work shares the machine's caches.

{speeds(points)}
## Make it yourself

```text
lvc eval CLIPS… {shlex.join(settings(done, points))} --json > eval.jsonl
scripts/benchmarks_page.py eval.jsonl --machine "…" --date {date}
```
"""


def settings(done: dict[str, Any], points: list[dict[str, Any]]) -> list[str]:
    """The options that lead to these points."""
    named: dict[str, list[float]] = {}
    for p in points:
        named.setdefault(p["codec"], []).append(p["setting"])
    qualities = ",".join(f"{q:g}" for q in sorted(set(named.pop("lvc"))))
    anchors = ",".join(f"{a}@{'/'.join(f'{s:g}' for s in sorted(set(crfs)))}" for a, crfs in named.items())
    options = ["--qualities", qualities, "--anchors", anchors, "--threads", str(done["threads"])]
    if done["settings"]["whole_files"]:
        options.append("--whole-files")
    for name, option in (("frames", "--frames"), ("max_height", "--max-height")):
        if done["settings"].get(name):
            options += [option, str(done["settings"][name])]
    return options


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("events", type=Path, help="what lvc eval --json printed")
    arguments.add_argument("--machine", required=True, help="processor, and whether it was idle")
    arguments.add_argument("--date", required=True)
    options = arguments.parse_args()
    events = [json.loads(line) for line in options.events.read_text(encoding="utf-8").splitlines()]
    curves([e for e in events if e["event"] == "point" and not e.get("error")], DOCS / "benchmarks.svg")
    (DOCS / "benchmarks.md").write_text(page(events, options.machine, options.date), encoding="utf-8")


if __name__ == "__main__":
    main()
