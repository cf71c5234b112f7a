"""Video of 10 bits a sample, from whoever gives it to whoever takes it: nothing on the way has 8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import lvc
from lvc.errors import LossError, UnsupportedError
from lvc.files.decode import format_of
from lvc.lvz import LvzReader
from lvc.media import MediaReader, encoders
from lvc.media.types import Frame
from tests.helpers import small_models

SIZE = 96, 64
HDR10 = {"primaries": 9, "transfer": 16, "matrix": 9, "color_range": 1}
PLANES = ["y", "u", "v"]


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LVC_MODELS", str(small_models.model_file().parent))
        yield


def gradient(number: int) -> tuple[np.ndarray, ...]:
    """Planes of 10 bits: a ramp with a step of 1 every second column, which 8 bits would make one of 1 every eighth."""
    width, height = SIZE
    y = 400 + np.arange(width) // 2 + 2 * number + np.zeros((height, 1), int)
    u, v = (np.full((height // 2, width // 2), k, np.uint16) for k in (500, 530))
    return y.astype(np.uint16), u, v


FRAMES = [gradient(n) for n in range(5)]


@pytest.fixture(scope="module")
def coded() -> bytes:
    return lvc.encode(FRAMES, fps=25, quality=85, **HDR10)


@pytest.fixture(scope="module")
def file(coded: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ten") / "ten.lvz"
    path.write_bytes(coded)
    return path


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of 10 bits."""
    return float(10 * np.log10(1023**2 / max(((a.astype(float) - b) ** 2).mean(), 1e-9)))


def frames_in(path: Path) -> list[Frame]:
    with MediaReader(str(path)) as reader:
        return [item for item in reader if isinstance(item, Frame)]


def test_planes_of_ten_bits_come_back_as_such(coded: bytes) -> None:
    frames = list(lvc.decode(coded))
    assert frames[0].format.bit_depth == 10 and frames[0].format.transfer == 16
    for given, got in zip(FRAMES, frames, strict=True):
        assert all(getattr(got, name).dtype == np.uint16 for name in PLANES)
        assert psnr(given[0], got.y) > 56
    eighths = lvc.encode([tuple(np.uint8((p + 2) >> 2) for p in f) for f in FRAMES], fps=25, quality=85)
    rounded = list(lvc.decode(eighths))
    assert rounded[0].y.dtype == np.uint8
    mean = np.mean([psnr(g[0], f.y.astype(int) * 4) for g, f in zip(FRAMES, rounded, strict=True)])
    assert np.mean([psnr(g[0], f.y) for g, f in zip(FRAMES, frames, strict=True)]) > mean + 2


def test_a_gradient_does_not_band(coded: bytes) -> None:
    with lvc.open(coded) as video:
        row = video[2].y[SIZE[1] // 2]
    assert len(np.unique(row)) > 40  # of 48; in 8 bits 12 would be left
    assert np.diff(row.astype(int)).max() <= 2


def test_every_frame_is_checked_in_ten_bits(file: Path) -> None:
    facts = lvc.verify_file(file, full=True).values
    assert facts["decoded"] and facts["frames"] == len(FRAMES)
    assert lvc.info_file(file).values["video"]["bit_depth"] == 10


def test_layouts_for_other_libraries(coded: bytes) -> None:
    frame = next(lvc.decode(coded))
    width, height = SIZE
    assert frame.to_rgb().dtype == np.uint8
    deep = frame.to_ndarray("rgb48le")
    assert deep.dtype == np.uint16 and deep.shape == (height, width, 3)
    assert len(np.unique(deep[0, :, 1])) > 40
    assert np.array_equal(frame.to_ndarray("gray10le"), frame.y)
    assert np.array_equal(frame.to_ndarray("gray"), np.minimum((frame.y + 2) >> 2, 255))
    assert frame.to_ndarray("yuv420p10le").dtype == np.uint16
    assert frame.to_ndarray("yuv420p").dtype == np.uint8
    assert frame.to_ndarray("yuv420p10le").shape == (height * 3 // 2, width)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["frame", "rgb", "lvc.Frame"])
def test_whatever_has_more_than_eight_bits_gives_ten(kind: str, coded: bytes) -> None:
    given: Any = next(lvc.decode(coded))
    if kind == "frame":
        given = av.VideoFrame.from_ndarray(given.to_ndarray("yuv420p10le"), "yuv420p10le")
    elif kind == "rgb":
        given = given.to_ndarray("rgb48le")
    frame = next(lvc.decode(lvc.encode([given], fps=25, quality=85)))
    assert frame.y.dtype == np.uint16
    assert psnr(FRAMES[0][0] if kind != "rgb" else frame.y, frame.y) > 50
    assert frame.format.transfer == {"frame": 2, "rgb": 13, "lvc.Frame": 16}[kind]


def test_what_does_not_fit_is_refused() -> None:
    too_bright = [tuple(p * np.uint16(64) for p in FRAMES[0])]
    with pytest.raises(lvc.UsageError, match="have 10 bits, and there is a sample of"):
        lvc.encode(too_bright, fps=25)
    with pytest.raises(lvc.UsageError, match="all uint8 or all uint16"):
        lvc.encode([(FRAMES[0][0], *(p.astype(np.uint8) for p in FRAMES[0][1:]))], fps=25)
    with pytest.raises(lvc.UsageError, match="a frame of 8 bits in a video of 10"):
        lvc.encode([FRAMES[0], tuple(np.uint8(p >> 2) for p in FRAMES[1])], fps=25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "least"),
    [
        ("a.mp4", None, "yuv420p10le", 48), ("a.webm", None, "yuv420p10le", 48), ("a.mkv", "ffv1", "yuv420p10le", 999),
        ("a.mp4", "h264", "yuv420p10le", 48), ("a.y4m", None, "yuv420p10le", 999),
    ],
)  # fmt: skip
def test_decode_writes_ten_bits(
    file: Path, tmp_path: Path, name: str, codec: str | None, pix_fmt: str, least: float
) -> None:
    said: list[str] = []
    lvc.decode_file(file, tmp_path / name, codec=codec, notice=said.append)
    written, decoded = frames_in(tmp_path / name), list(lvc.decode(file))
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert stream.pix_fmt == pix_fmt
        if name != "a.y4m":
            assert stream.codec_context.color_trc == HDR10["transfer"]
    for a, b in zip(written, decoded, strict=True):
        assert np.array_equal(a.y, b.y) if least > 100 else psnr(a.y, b.y) > least
    assert any("H.264 with 10 bits" in text for text in said) == (codec == "h264")
    assert any("HDR" in text for text in said) == (name == "a.y4m")


def test_an_encoder_of_eight_bits_alone_says_so(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvc.media.writer.takes", lambda encoder, pix_fmt: encoder.library != "libx264")
    with pytest.raises(LossError, match="10 become 8"):
        lvc.decode_file(file, tmp_path / "a.mp4", codec="h264", strict=True)
    assert not list(tmp_path.iterdir())
    lvc.decode_file(file, tmp_path / "a.mp4", codec="h264", crf=1)
    for a, b in zip(frames_in(tmp_path / "a.mp4"), lvc.decode(file), strict=True):
        assert a.y.dtype == np.uint8 and np.abs(a.y * 4.0 - b.y).mean() < 4
    assert lvc.decode_file(file, tmp_path / "b.mp4", strict=True).frames == len(FRAMES)  # by libx265


@pytest.mark.slow
@pytest.mark.parametrize(("container", "depth", "codec"), [
    ("mp4", 8, "h264"), ("mp4", 10, "hevc"), ("mkv", 10, "hevc"), ("mov", 10, "hevc"), ("webm", 8, "av1"),
    ("webm", 10, "av1"),
])  # fmt: skip
def test_the_usual_codec(container: str, depth: int, codec: str) -> None:
    assert encoders.usual_codec(container, depth) == codec


@pytest.mark.parametrize("depth", [None, 8])
def test_a_file_keeps_its_depth_unless_told(file: Path, tmp_path: Path, depth: int | None) -> None:
    source, target = tmp_path / "a.mkv", tmp_path / "a.lvz"
    lvc.decode_file(file, source, codec="ffv1")
    said: list[str] = []
    lvc.encode_file(source, target, quality=85, bit_depth=depth, verify=True, notice=said.append)
    assert any("10 bits a sample become 8" in text for text in said) == (depth == 8)
    frames = list(lvc.decode(target))
    assert frames[0].y.dtype == (np.uint16 if depth is None else np.uint8)
    vectors = [lvc.encode(FRAMES, fps=25), target.read_bytes()]
    assert all(len(v) > 100 for v in vectors)


def test_depths_that_nobody_has(file: Path) -> None:
    with file.open("rb") as opened:
        reader = LvzReader(opened)
        object.__setattr__(reader.video, "bit_depth", 12)
        with pytest.raises(UnsupportedError, match="12 bits"):
            format_of(reader)
