"""What the engine's kernels reach, in GMAC/s of one core: python scripts/figures/engine_speed.py [SHORT SIDE]

Blocks of 96, 128 and 256 channels on every instruction set that runs here; then a frame's decoder with symbols,
without, and with few blocks wanted. Figures are CPU time, the least of many short runs, since machines are shared: run
it under `taskset -c 0`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from lvc.engine import library, nets
from lvc.engine import program as p
from tests.helpers import programs


def least(run: Callable[[], object], seconds: float = 1.5) -> float:
    best, end = 1e9, time.thread_time() + seconds
    while time.thread_time() < end:
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return best


def blocks(size: tuple[int, int]) -> None:
    for channels in (96, 128, 256):
        b = programs.Builder(np.random.default_rng(0))
        b.program.outputs = [b.block(b.input(p.S16, 3, channels))]
        model = p.Model(1, {"block": b.program})
        x = np.random.default_rng(1).normal(0, 300, (*size, channels)).astype(np.int16)
        for isa in library.ISAS:
            if library.runs(isa):
                network, space = nets.Network(model, "block", isa), nets.Workspace()
                seconds = least(lambda n=network, w=space, x=x: n.run([x], size, workspace=w))  # type: ignore[misc]
                rate = b.program.macs() * size[0] * size[1] / seconds / 1e9
                print(f"block {channels:3} {isa:10} {1e3 * seconds:7.2f} ms {rate:6.1f} GMAC/s")


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
    blocks(size)
    frame(size)


if __name__ == "__main__":
    main()
