#!/usr/bin/env python3
"""What the bits of files are spent on: the share of each kind of integer, in packing `rans`.

    scripts/figures/bits_split.py FILE.lvz ...

The integers of a file, however it packs them, are coded anew; kinds with P are of predicted frames, I of key frames.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from lvc.codec.scales import Scales
from lvc.entropy.clip import FrameLatents, Geometry, unpack_zstd
from lvc.entropy.coder import Encoder
from lvc.entropy.fields import MotionCoder
from lvc.entropy.flags import FlagCoder
from lvc.entropy.rans import GopCoder
from lvc.lvz import PACKING_ZSTD, LvzReader, clips_only
from lvc.models import load_model

KINDS = ("skip", "copy", "motion", "P hyper", "P latent", "I hyper", "I latent")


class Split(Encoder):
    """What is put goes to the encoder of the current kind."""

    def __init__(self) -> None:
        super().__init__()
        self.kind = ""
        self.kinds: dict[str, Encoder] = {}

    def put(self, symbols: Any, table: Any, *each: Any) -> None:
        self.kinds.setdefault(self.kind, Encoder()).put(symbols, table, *each)

    def bits(self) -> dict[str, int]:
        return {kind: 8 * len(encoder.finish()) for kind, encoder in self.kinds.items()}


def gops_of(path: Path, model: Any = None) -> list[list[FrameLatents]]:
    """The integers of a file, GOP by GOP."""
    model = model or load_model()
    gops: list[list[FrameLatents]] = []
    with path.open("rb") as file:
        reader = LvzReader(file)
        geometry = reader.video.geometry
        coder: GopCoder | None = None
        for record in clips_only(reader.records()):
            if record.key:
                gops.append([])
                coder = GopCoder(geometry, Scales(model), model.tables)
            if reader.video.packing == PACKING_ZSTD:
                gops[-1] += unpack_zstd(record.payload, geometry, len(record.pts))
            elif coder is not None:
                gops[-1] += coder.unpack(record.payload, len(record.pts))
    return gops


def bits_of(gops: Sequence[Sequence[FrameLatents]], geometry: Geometry, model: Any) -> dict[str, int]:
    """Bits by kind when these GOPs are packed."""
    split = Split()

    def told(method: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **more: Any) -> Any:
            split.kind = name(*args)
            return method(self, *args, **more)

        return call

    with (
        patch.object(FlagCoder, "_flags", told(FlagCoder._flags, lambda coding, which, *_: KINDS[which])),
        patch.object(MotionCoder, "code", told(MotionCoder.code, lambda *_: "motion")),
        patch.object(GopCoder, "_hyper", told(GopCoder._hyper, lambda coding, kind, *_: "IP"[kind] + " hyper")),
        patch.object(GopCoder, "_latent", told(GopCoder._latent, lambda coding, kind, *_: "IP"[kind] + " latent")),
    ):
        for gop in gops:
            GopCoder(geometry, Scales(model), model.tables).write(gop, split)
    return split.bits()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    model = load_model()
    for path in parser.parse_args().files:
        with path.open("rb") as file:
            geometry = LvzReader(file).video.geometry
        bits = bits_of(gops_of(path, model), geometry, model)
        total = sum(bits.values())
        shares = " | ".join(f"{kind} {100 * bits.get(kind, 0) / total:.1f} %" for kind in KINDS)
        print(f"{path.stem[:30]:30} {np.ceil(total / 8):9.0f} B | {shares}", flush=True)


if __name__ == "__main__":
    main()
