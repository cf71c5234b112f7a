"""Views of footage to train features with: thumbnails as they are and badly coded, and what people do to copies."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from lvc.errors import LvcError
from lvc.features.thumbnail import shrink
from lvc.media import Frame, MediaReader, MediaWriter

STORED = 128
PHOTOS = (".png", ".jpg", ".jpeg", ".webp")
PER_PHOTO = 4


def stored_views(folders: list[Path], work: Path, spacing: Fraction) -> list[dict[str, np.ndarray]]:
    """For each clip: `times` float [N]; `plain_y` uint8 [N,128,128], `plain_c` [N,2,64,64], and `coded_…`: half the
    size at x264 crf 38. Photographs are clips of one moment; parts of one photograph count as clips of their own."""
    work.mkdir(parents=True, exist_ok=True)
    clips: list[dict[str, np.ndarray]] = []
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.is_file()):
        kept = work / f"{path.name}.npz"
        try:
            if not kept.exists():
                made = _photo(path) if path.suffix in PHOTOS else _video(path, spacing)
                with kept.open("wb") as file:
                    np.savez(file, **made)
            with np.load(kept) as data:
                clip = {name: data[name] for name in data.files}
        except LvcError as error:
            print(f"{path.name}: {error}")
            continue
        if path.suffix in PHOTOS:
            clips += [{name: value[i : i + 1] for name, value in clip.items()} for i in range(len(clip["times"]))]
        else:
            clips.append(clip)
    return clips


def _thumbnails(reader: MediaReader, spacing: Fraction) -> tuple[list[np.ndarray], list[np.ndarray], list[float]]:
    luma, chroma, times = [], [], []
    first, slot = None, -1
    for frame in reader:
        if not isinstance(frame, Frame):
            continue
        first = frame.pts if first is None else first
        now = (frame.pts - first) * reader.video.seconds_per_tick
        if int(now / spacing) <= slot:
            continue
        slot = int(now / spacing)
        turns = -round(reader.video.rotation / 90) % 4
        luma.append(np.rint(np.rot90(shrink(frame.y, STORED, STORED), turns)).astype(np.uint8))
        planes = [np.rot90(shrink(p, STORED // 2, STORED // 2), turns) for p in (frame.u, frame.v)]
        chroma.append(np.rint(np.stack(planes)).astype(np.uint8))
        times.append(float(now))
    return luma, chroma, times


def thumbnails_of(path: Path, spacing: Fraction, work: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times [N], luma uint8 [N,128,128], chroma uint8 [N,2,64,64] of a video, kept in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    kept = work / f"{path.name}.npz"
    if not kept.exists():
        with MediaReader(path, audio="none", subtitles="none") as reader:
            luma, chroma, times = _thumbnails(reader, spacing)
        with kept.open("wb") as file:
            np.savez(file, times=np.array(times), y=np.stack(luma), c=np.stack(chroma))
    with np.load(kept) as data:
        return data["times"], data["y"], data["c"]


def recode(source: Path, target: Path, crf: int, height: str | None = None) -> None:
    """x264 without sound; `height` as in `--resolution`."""
    with (
        MediaReader(source, audio="none", subtitles="none", resolution=height) as reader,
        MediaWriter(target, reader.video, crf=crf) as writer,
    ):
        for item in reader:
            writer.write(item)


def _video(path: Path, spacing: Fraction) -> dict[str, np.ndarray]:
    with MediaReader(path, audio="none", subtitles="none") as reader:
        luma, chroma, times = _thumbnails(reader, spacing)
        height = max(96, reader.video.height // 4 * 2)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.mp4"
        recode(path, small, 38, f"x{height}")
        with MediaReader(small) as reader:
            luma2, chroma2, times2 = _thumbnails(reader, spacing)
    n = min(len(times), len(times2))
    return {
        "times": np.array(times[:n]),
        "plain_y": np.stack(luma[:n]),
        "plain_c": np.stack(chroma[:n]),
        "coded_y": np.stack(luma2[:n]),
        "coded_c": np.stack(chroma2[:n]),
    }


def _photo(path: Path) -> dict[str, np.ndarray]:
    """Parts of a photograph, of 45 to 100 % of its sides."""
    random = np.random.default_rng(len(path.name) + path.stat().st_size)
    with MediaReader(path) as reader:
        frame = [f for f in reader if isinstance(f, Frame)][0]
    luma, chroma = [], []
    rows, cols = (s // 2 for s in frame.y.shape)
    for part in range(PER_PHOTO):
        side = 1.0 if part == 0 else random.uniform(0.45, 0.7)
        top, left = int(random.uniform(0, rows * (1 - side))), int(random.uniform(0, cols * (1 - side)))
        bottom, right = top + int(rows * side), left + int(cols * side)
        luma.append(shrink(frame.y[2 * top : 2 * bottom, 2 * left : 2 * right], STORED, STORED))
        chroma.append(
            np.stack([shrink(p[top:bottom, left:right], STORED // 2, STORED // 2) for p in (frame.u, frame.v)])
        )
    y, c = np.rint(np.stack(luma)).astype(np.uint8), np.rint(np.stack(chroma)).astype(np.uint8)
    return {"times": np.zeros(PER_PHOTO), "plain_y": y, "plain_c": c, "coded_y": y, "coded_c": c}


def _some(n: int, share: float, *shape: int) -> torch.Tensor:
    return (torch.rand(n, *(shape or (1, 1, 1))) < share).float()


def _between(n: int, low: float, high: float) -> torch.Tensor:
    return torch.empty(n, 1, 1, 1).uniform_(low, high)


def cropped(
    luma: torch.Tensor, chroma: torch.Tensor, least: float, flip: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """A window of `least`..1 of each side, mirrored for the share `flip`, some turned a little."""
    n = len(luma)
    side = torch.empty(n).uniform_(least, 1)
    width = (side + torch.empty(n).uniform_(-0.05, 0.05)).clamp(least, 1)
    height = (side + torch.empty(n).uniform_(-0.05, 0.05)).clamp(least, 1)
    x = torch.empty(n).uniform_(-1, 1) * (1 - width)
    y = torch.empty(n).uniform_(-1, 1) * (1 - height)
    mirror = 1 - 2 * (torch.rand(n) < flip).float()
    angle = torch.randn(n) * 0.03 * (torch.rand(n) < (0.3 if least < 0.9 else 0)).float()
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [width * cos * mirror, -width * sin, x, height * sin * mirror, height * cos, y]
    theta = torch.stack(rows, 1).view(n, 2, 3)
    out = []
    for planes in (luma, chroma):
        grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
        out.append(F.grid_sample(planes, grid, padding_mode="border", align_corners=False))
    return out[0], out[1]


def disturbed(luma: torch.Tensor, chroma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Brightness, contrast, gamma, colour, blur, noise, bars, and something written over; 0..255, some of each."""
    n = len(luma)
    gain = torch.where(_some(n, 0.7) > 0, _between(n, 0.7, 1.35), torch.ones(()))
    offset = _some(n, 0.4) * _between(n, -30, 30)
    gamma = torch.where(_some(n, 0.3) > 0, _between(n, 0.7, 1.4), torch.ones(()))
    luma = 255 * (((luma * gain + offset).clamp(0, 255) / 255) ** gamma)
    tint = _some(n, 0.3) * torch.empty(n, 2, 1, 1).uniform_(-10, 10)
    strength = torch.where(_some(n, 0.3) > 0, _between(n, 0.4, 1.4), gain)
    chroma = 128 + (chroma - 128) * strength * (1 - _some(n, 0.04)) + tint
    soft = F.interpolate(F.avg_pool2d(luma, 4), scale_factor=4, mode="bilinear")
    luma = luma + _some(n, 0.3) * torch.rand(n, 1, 1, 1) * (soft - luma)
    luma = luma + _some(n, 0.3) * _between(n, 0, 14) * torch.randn_like(luma)
    size = luma.shape[-1]
    at = torch.arange(size)
    bar = (torch.rand(n) < 0.1).float() * torch.rand(n) * 0.12 * size
    upright = torch.rand(n) < 0.5
    inside = (at[None] >= bar[:, None]) & (at[None] < size - bar[:, None])
    mask = torch.where(upright[:, None, None], inside[:, None, :], inside[:, :, None])
    luma = torch.where(mask[:, None], luma, torch.full((), 16.0))
    left, top = torch.rand(n) * 0.8 * size, torch.rand(n) * 0.85 * size
    wide, high = torch.rand(n) * 0.35 * size, torch.rand(n) * 0.15 * size
    across = (at[None] >= left[:, None]) & (at[None] < (left + wide)[:, None])
    down = (at[None] >= top[:, None]) & (at[None] < (top + high)[:, None])
    written = across[:, None, :] & down[:, :, None] & (torch.rand(n) < 0.25)[:, None, None]
    luma = torch.where(written[:, None], _between(n, 0, 255) + 40 * torch.randn_like(luma), luma)
    return luma.clamp(0, 255), chroma.clamp(0, 255)
