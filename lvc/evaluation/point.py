"""One measured point: one clip, codec and setting; or its error."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lvc.evaluation.measure import Measured
from lvc.evaluation.metrics import FrameQuality

SAME_SIZE = 0.02
"""Sizes that differ by no more than this share count as equal."""


@dataclass(frozen=True)
class Point:
    """`setting` is lvc's quality or an anchor's CRF. `bytes` are those that count: the video's, or the whole file's by
    `Plan.whole_files`. `file_bytes`: the file on disk. `target_bytes`: the size to match.

    `at`: the quality of lvc that the point belongs to; None for an anchor's at a CRF of its own. `model`: id and start
    of the hash of lvc's model. `rate`: frames per second. `bit_depth`: of the source, and of the comparison. `jobs`:
    the number of points measured at the same time, which slows each of them. `pictures`: names of files in the run's
    store, by frame. `original`: the name of those of the source.
    """

    clip: str
    codec: str
    setting: float
    at: float | None = None
    width: int = 0
    height: int = 0
    rate: float = 0
    frames: int = 0
    bytes: int = 0
    file_bytes: int = 0
    target_bytes: int | None = None
    model: str = ""
    quality: FrameQuality | None = None
    per_frame: list[FrameQuality] = field(default_factory=list, repr=False)
    encode: Measured | None = None
    decode: Measured | None = None
    bit_depth: int = 8
    jobs: int = 1
    pictures: dict[str, str] = field(default_factory=dict, repr=False)
    original: str = ""
    error: str = ""
    exit_code: int = 0

    @property
    def is_lvc(self) -> bool:
        return self.codec.split(":")[0] == "lvc"

    @property
    def told(self) -> str:
        """Codec and setting as text; the codec alone if no setting was tried."""
        if not self.width:
            return self.codec
        return f"{self.codec} at {f'CRF {self.setting:g}' if self.at is None else f'{self.at:g}'}"

    @property
    def bpp(self) -> float:
        """Bits that count per luma sample of the source."""
        return self.bytes * 8 / max(1, self.width * self.height * self.frames)

    @property
    def size_match(self) -> float | None:
        """Deviation of the anchor's size from lvc's, as a share."""
        return self.bytes / self.target_bytes - 1 if self.target_bytes else None

    @property
    def misses_size(self) -> bool:
        """Whether the anchor's size misses lvc's."""
        return self.size_match is not None and abs(self.size_match) > SAME_SIZE

    def record(self, per_frame: bool = False) -> dict[str, Any]:
        """Flat, for JSON lines and CSV; absent figures are None."""
        out: dict[str, Any] = {"clip": self.clip, "codec": self.codec, "setting": self.setting, "at": self.at}
        if self.error:
            return out | {"error": self.error, "exit_code": self.exit_code}
        out |= {"width": self.width, "height": self.height, "bit_depth": self.bit_depth}
        out |= {"frames": self.frames, "bytes": self.bytes}
        out |= {"bpp": round(self.bpp, 6), "file_bytes": self.file_bytes, "target_bytes": self.target_bytes}
        out |= {"model": self.model or None, "jobs": self.jobs}
        if self.quality:
            figures = {**asdict(self.quality), "psnr_yuv": self.quality.psnr_yuv}
            out |= {k: None if v is None else round(v, 5) for k, v in figures.items()}
        for job, m in (("encode", self.encode), ("decode", self.decode)):
            if m:
                out |= {f"{job}_fps": _rounded(m.fps), f"{job}_fps_process": _rounded(m.fps_process)}
                out |= {f"{job}_rss": m.rss, f"{job}_cpu_seconds": _rounded(m.cpu_seconds)}
                out |= {f"{job}_gmac_per_frame": None if m.macs is None else _rounded(m.macs / 1e9, 4)}
                out |= {f"{job}_kmac_per_pixel": _rounded(self.kmacs_per_pixel(m), 3)}
        if self.decode:
            out["key_frames"] = self.decode.key_frames
        if per_frame:
            out["per_frame"] = [asdict(f) for f in self.per_frame]
        return out

    def kmacs_per_pixel(self, measured: Measured | None) -> float | None:
        """Thousands of multiply-accumulates per luma sample of the source."""
        if measured is None or measured.macs is None:
            return None
        return measured.macs / (self.width * self.height) / 1000

    def stored(self) -> dict[str, Any]:
        """All fields, for `restored`."""
        return asdict(self)

    @classmethod
    def restored(cls, values: dict[str, Any]) -> Point:
        """Raises `TypeError` for a point stored by another version of lvc."""
        quality = values["quality"] and FrameQuality(**values["quality"])
        frames = [FrameQuality(**frame) for frame in values["per_frame"]]
        encode, decode = (
            m and Measured(**{**m, "size": m["size"] and tuple(m["size"])})
            for m in (values["encode"], values["decode"])
        )
        return cls(**{**values, "quality": quality, "per_frame": frames, "encode": encode, "decode": decode})


FIELDS = (
    "clip codec setting at width height bit_depth frames bytes bpp file_bytes target_bytes model jobs "
    "psnr_y vmaf vmaf_neg ssim_y ms_ssim_y st_lpips psnr_yuv psnr_611 psnr_u psnr_v ssim_all "
    "encode_fps encode_fps_process encode_rss encode_cpu_seconds encode_gmac_per_frame encode_kmac_per_pixel "
    "decode_fps decode_fps_process decode_rss decode_cpu_seconds decode_gmac_per_frame decode_kmac_per_pixel "
    "key_frames error exit_code"
).split()


def _rounded(figure: float | None, places: int = 2) -> float | None:
    return None if figure is None else round(figure, places)
