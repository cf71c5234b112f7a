"""One measured point: one clip through one codec at one setting. Also what is said when it failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lvc.evaluation.measure import Measured
from lvc.evaluation.metrics import FrameQuality


@dataclass(frozen=True)
class Point:
    """`setting` is lvc's quality or an anchor's CRF. `bytes` is the file on disk, `target_bytes` the size to match.

    `overhead_bytes`: those of lvc's file that are neither latents nor copied packets.
    """

    clip: str
    codec: str
    setting: float
    width: int = 0
    height: int = 0
    frames: int = 0
    bytes: int = 0
    overhead_bytes: int | None = None
    target_bytes: int | None = None
    quality: FrameQuality | None = None
    per_frame: list[FrameQuality] = field(default_factory=list, repr=False)
    encode: Measured | None = None
    decode: Measured | None = None
    error: str = ""
    exit_code: int = 0

    @property
    def bpp(self) -> float:
        """Bits of the file per luma sample of the source."""
        return self.bytes * 8 / max(1, self.width * self.height * self.frames)

    @property
    def size_match(self) -> float | None:
        """How far the anchor's file is from lvc's size, as a share of it."""
        return self.bytes / self.target_bytes - 1 if self.target_bytes else None

    def record(self, per_frame: bool = False) -> dict[str, Any]:
        """Flat, for JSON lines and CSV; absent figures are None."""
        out: dict[str, Any] = {"clip": self.clip, "codec": self.codec, "setting": self.setting}
        if self.error:
            return out | {"error": self.error, "exit_code": self.exit_code}
        out |= {"width": self.width, "height": self.height, "frames": self.frames, "bytes": self.bytes}
        out |= {"bpp": round(self.bpp, 6), "overhead_bytes": self.overhead_bytes, "target_bytes": self.target_bytes}
        if self.quality:
            out |= {k: None if v is None else round(v, 5) for k, v in asdict(self.quality).items()}
        for job, m in (("encode", self.encode), ("decode", self.decode)):
            if m:
                out |= {f"{job}_fps": _rounded(m.fps), f"{job}_fps_process": _rounded(m.fps_process)}
                out |= {f"{job}_rss": m.rss}
        if per_frame:
            out["per_frame"] = [asdict(f) for f in self.per_frame]
        return out


FIELDS = (
    "clip codec setting width height frames bytes bpp overhead_bytes target_bytes "
    "psnr_y psnr_u psnr_v psnr_611 ssim_y ssim_all ms_ssim_y "
    "encode_fps encode_fps_process encode_rss decode_fps decode_fps_process decode_rss error exit_code"
).split()


def _rounded(fps: float | None) -> float | None:
    return None if fps is None else round(fps, 2)
