"""Photographs: what their files say about orientation is heeded, and what PyAV cannot look at does no harm."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from lvc.media import MediaReader
from lvc.media.source import open_file
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


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("photo.jpg", "mjpeg", "yuvj420p"), ("PHOTO.JPEG", "mjpeg", "yuvj444p"), ("a.pam", "pam", "rgb24"),
     ("a.png", "png", "rgb24"), ("a.tif", "tiff", "rgb24"), ("a.webp", "libwebp", "yuv420p")],
)  # fmt: skip
def test_pictures_of_any_size(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    """FFmpeg looks at 2 kB first; what it cannot tell from these it takes for part of a sequence, by the name."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 256, 192, pix_fmt, Fraction(1, 25)
    noise = np.random.default_rng(1).integers(0, 256, (192, 256, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, "rgb24").reformat(format=pix_fmt)
    data = b"".join(bytes(p) for p in encoder.encode(frame) + encoder.encode(None))
    assert len(data) > 10_000
    (tmp_path / name).write_bytes(data)
    with MediaReader(tmp_path / name) as reader:
        assert [frame.y.shape for frame in reader] == [(192, 256)]
    with open_file(tmp_path / name) as container:
        assert len(list(container.decode(video=0))) == 1
