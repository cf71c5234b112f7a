"""New frames between old ones, with the codec's own parts: its motion search, its compensation, its blocks.

    frames ─▶ motion, both ways ─▶ vectors through the moment ─▶ both compensated ─▶ network ─▶ the new frame

`motion` finds vectors, `between` makes a frame of two, `times` says which moments are wanted, `stream` does a video,
`files` whole files. torch is imported by the jobs themselves.
"""

from __future__ import annotations

from lvc.interpolate.files import interpolate_file, plan_file

__all__ = ["interpolate_file", "plan_file"]
