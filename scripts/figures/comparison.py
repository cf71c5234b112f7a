#!/usr/bin/env python3
"""The picture in the README: one frame as it was, by x264 medium and by lvc in files of the same size.

    lvc eval bigbuckbunny.mp4 --frames 48 --max-height 432 --qualities 25 --anchors x264:medium --report report.html
    scripts/figures/comparison.py report.html docs/comparison.png --crop 480x340+90+10

It takes the pictures of the report's first clip as they are there, lossless; figures below them are the report's too.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

GAP, CAPTION, FONT_SIZE = 8, 32, 15


def shown(clip: dict[str, Any], codec: str, frame: str) -> Image.Image:
    data = clip["pictures"][frame][codec].split(",", 1)[1]
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def caption(clip: dict[str, Any], codec: str) -> str:
    if codec == "original":
        return "original"
    point = next(p for p in clip["points"] if p["codec"] == codec and p["at"] == clip["pictures_at"])
    quality = point["quality"]
    size = f"{point['bytes'] / 1000:.1f} kB for {clip['frames']} frames"
    return f"{codec.replace(':', ' ')}: {size}, PSNR-Y {quality['psnr_y']:.1f} dB, VMAF {quality['vmaf']:.0f}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("report", type=Path)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--crop", default="", metavar="WxH+X+Y", help="a part of the frame")
    options = arguments.parse_args()
    text = options.report.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    if found is None:
        raise SystemExit(f"{options.report} is not a report of lvc eval")
    clip = json.loads(found[1])["clips"][0]
    frame = max(clip["pictures"], key=int)  # the farthest from its key frame
    panels = [(caption(clip, codec), shown(clip, codec, frame)) for codec in ("original", "x264:medium", "lvc")]
    if options.crop:
        width, height, x, y = map(int, re.split(r"[x+]", options.crop))
        panels = [(words, picture.crop((x, y, x + width, y + height))) for words, picture in panels]
    width, height = panels[0][1].size
    sheet = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height + CAPTION), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype("DejaVuSans.ttf", FONT_SIZE)
    for number, (words, picture) in enumerate(panels):
        left = number * (width + GAP)
        sheet.paste(picture, (left, 0))
        pen.text((left, height + 8), words, fill="black", font=font)
    sheet.save(options.output, optimize=True)


if __name__ == "__main__":
    main()
