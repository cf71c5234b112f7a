"""Versions of lvc, FFmpeg and every encoder in a measurement, and the machine's cores."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from pathlib import Path

import av

from lvc import __version__
from lvc.evaluation import perceptual
from lvc.evaluation.anchors import Anchor
from lvc.media import ffmpeg
from lvc.pipeline import usable_cores
from lvc.results import counted

LIBRARIES = {"libx264": "libx264", "libx265": "libx265", "libsvtav1": "libSvtAv1Enc"}


def encoder_version(anchor: Anchor) -> str:
    """`libx264 165`: the encoder and the version in the name of the library that PyAV's wheel carries."""
    encoder = anchor.family.encoder
    if anchor.name == "vvc":
        return f"{encoder} in FFmpeg {ffmpeg.version()}"
    folder = Path(av.__file__).parent.parent / "av.libs"
    for path in folder.glob(f"{LIBRARIES[encoder]}*") if folder.is_dir() else ():
        if match := re.search(r"\.so\.([\d.]+)$|\.([\d.]+)\.dylib$|-([\d.]+)\.dll$", path.name):
            return f"{encoder} {next(group for group in match.groups() if group)}"
    return f"{encoder} of PyAV {av.__version__}"


def decoders(metrics: Sequence[str]) -> list[str]:
    """The libraries that read clips and anchors' files, and that measure VMAF, if it is measured."""
    found = [f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}"]
    found += [f"static FFmpeg {ffmpeg.version()}"] if any(m.startswith("vmaf") for m in metrics) else []
    return [*found, perceptual.version()] if "st-lpips" in metrics else found


def versions(anchors: list[Anchor]) -> dict[str, str]:
    return {
        "lvc": __version__,
        "PyAV": f"{av.__version__}, FFmpeg {av.ffmpeg_version_info}",
        **({"static FFmpeg": ffmpeg.version()} if ffmpeg.executable() else {}),
        **{str(anchor): encoder_version(anchor) for anchor in anchors},
        "Python": platform.python_version(),
        "machine": f"{platform.machine()}, {counted(usable_cores(), 'core')}",
    }
