"""Photographs: what their files say about orientation is heeded, and what PyAV cannot look at does no harm."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import pytest

from lvc.media import MediaReader
from tests.helpers.clips import video_frame

EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0%c\0\0\0\0\0\0\0"


@pytest.mark.parametrize(("orientation", "rotation"), [(1, 0), (3, 180), (6, 90), (8, 270)])
def test_exif_orientation(tmp_path: Path, orientation: int, rotation: int) -> None:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuvj420p", Fraction(1, 25)
    packets = encoder.encode(video_frame(0, 64, 48, "yuvj420p")) + encoder.encode(None)
    data = b"".join(bytes(p) for p in packets)
    exif = EXIF % orientation
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    with MediaReader(photo) as reader:
        assert len(list(reader)) == 1
        assert reader.video.rotation == rotation
    gc.collect()
