"""What the engine's kernels reach, in GMAC/s of one core: python scripts/figures/engine_speed.py [SHORT SIDE]

First the ceiling of each instruction set that runs here: its dot products on registers alone (`ceiling.c`). Then
layers of 96, 128 and 256 channels and blocks of them, each as a share of that; then a frame's decoder with
symbols, without, and with few blocks wanted. Figures are CPU time, the least of many short runs, since machines are
shared: run it under `taskset -c 0`.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lvc.engine import library, nets
from lvc.engine import program as p
from tests.helpers import programs

FLAGS = {
    "avx512vnni": ("-mavx512f", "-mavx512vnni"),
    "avxvnni": ("-mavx512vl", "-mavx512vnni") if library.runs("avx512vnni") else ("-mavx2", "-mavxvnni"),
    "avx2": ("-mavx2",),
}
"""Of the compiler, for the instruction sets whose ceiling `ceiling.c` can measure."""


def least(run: Callable[[], object], seconds: float = 1.5) -> float:
    best, end = 1e9, time.thread_time() + seconds
    while time.thread_time() < end:
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return best


def ceilings(isa: str) -> tuple[float, float]:
    """GMAC/s that one core makes at most, of 8 bits and of 16."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "ceiling.so"
        source = Path(__file__).with_name("ceiling.c")
        # without -fno-tree-pre, GCC keeps sums in memory
        subprocess.run(["cc", "-O2", "-fno-tree-pre", "-shared", "-fPIC", *FLAGS[isa], source, "-o", built], check=True)
        library = ctypes.CDLL(str(built))
    turns, made = 1_000_000, ctypes.c_int32()
    found = []
    for dots in (library.dots8, library.dots16):
        dots.restype, dots.argtypes = ctypes.c_int64, (ctypes.c_int64, ctypes.POINTER(ctypes.c_int32))
        found.append(turns * int(dots(1, made)) / least(lambda d=dots: d(turns, made), 0.5) / 1e9)  # type: ignore[misc]
    return found[0], found[1]


def layers(size: tuple[int, int]) -> None:
    kinds: dict[str, Callable[[programs.Builder, int, int], int]] = {
        "1x1 of 8 bits": lambda b, source, channels: b.conv([source], channels, p.U7),
        "1x1 of 16 bits": lambda b, source, channels: b.conv([source], channels, wide=True, limit=4095),
        "3x3 depthwise": lambda b, source, channels: b.depthwise(source),
        "block": lambda b, source, channels: b.block(source),
    }
    for isa in filter(library.runs, library.ISAS):
        most = ceilings(isa) if isa in FLAGS else None
        said = "not measured" if most is None else f"{most[0]:.0f} GMAC/s of 8 bits, {most[1]:.0f} of 16"
        print(f"\n{isa}, ceiling: {said}")
        print("| layer | channels | ms | GMAC/s | of the ceiling |\n|---|---|---|---|---|")
        for kind, layer in kinds.items():
            for channels in (96, 128, 256):
                b = programs.Builder(np.random.default_rng(0))
                b.program.outputs = [layer(b, b.input(p.S16, 3, channels), channels)]
                x = np.random.default_rng(1).normal(0, 300, (*size, channels)).astype(np.int16)
                network, space = nets.Network(p.Model(1, {"layer": b.program}), "layer", isa), nets.Workspace()
                seconds = least(lambda n=network, w=space, x=x: n.run([x], size, workspace=w), 0.7)  # type: ignore[misc]
                rate = b.program.macs() * size[0] * size[1] / seconds / 1e9
                share = "" if most is None else f"{rate / most['16 bits' in kind]:.0%}"
                print(f"| {kind} | {channels} | {1e3 * seconds:.2f} | {rate:.1f} | {share} |", flush=True)


def frame(size: tuple[int, int]) -> None:
    model = programs.codec(c8=96, c16=128, m=128)
    given = programs.frame(model, size)
    given["y"] = (given["y"] // 8).astype(np.int16)
    inputs = [given["prediction"], given["flags"]]
    network, space = nets.Network(model, "frame"), nets.Workspace()
    writer = nets.Coder()
    network.run(inputs, size, coder=writer, y=given["y"], z=given["z"], workspace=space)
    data = writer.finish()
    gmac = model.programs["frame"].macs() * size[0] * size[1] / 1e9
    print(f"decoder of {gmac:.2f} GMAC, {network.isa}")
    seconds = least(lambda: network.run(inputs, size, coder=nets.Coder(data), workspace=space))
    print(f"  {len(data)} bytes of symbols  {1e3 * seconds:6.2f} ms")
    nothing = np.zeros((size[0] // 2, size[1] // 2), bool)
    middle = nothing.copy()
    for share in (1.0, 0.3, 0.1, 0.02, 0.0):
        side = share**0.5
        middle[:] = False
        middle[: round(side * len(middle)), : round(side * len(middle[0]))] = True
        seconds = least(
            lambda: network.run(
                inputs, size, coder=nets.Coder(b"\0\0\1\0"), workspace=space, coded=nothing, wanted=middle
            )
        )
        print(f"  no symbols, {100 * share:3.0f} % of the blocks wanted {1e3 * seconds:6.2f} ms")


def main() -> None:
    rows = int(sys.argv[1]) // 16 * 2 if len(sys.argv) > 1 else 60
    size = rows, -(-rows * 16 // 9) // 2 * 2
    print(f"{size[1]}x{size[0]} at 1/8")
    layers(size)
    frame(size)


if __name__ == "__main__":
    main()
