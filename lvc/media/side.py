"""Side data of decoded pictures: HDR10's mastering display and light level, stereo 3D; and what of it cannot be kept.

Properties are text in the notation that encoders accept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

MASTERING, LIGHT, STEREO, FIELDS = "mastering_display", "content_light", "stereo3d", "field_order"
TIMECODE = "timecode"

STEREO_MODES = (
    "2d", "side_by_side", "top_and_bottom", "frame_alternate", "checkerboard", "side_by_side_quincunx",
    "interleaved_lines", "interleaved_columns",
)  # fmt: skip
"""By FFmpeg's AVStereo3DType. The suffix `-inverted` means that the right view comes first."""
INVERTED = "-inverted"

_LOST = {
    "A53_CC": "closed captions inside the pictures",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "DOVI_METADATA": "Dolby Vision metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "ICC_PROFILE": "the ICC profile",
    "SPHERICAL": "the projection of a 360° video",
}


def side_data_of(frame: Any) -> dict[str, bytes]:
    """By FFmpeg's name of the type."""
    return {data.type.name: bytes(data) for data in frame.side_data}


def properties_of(found: dict[str, bytes]) -> dict[str, str]:
    """The properties of a picture's side data that a `.lvz` keeps."""
    readers: dict[str, tuple[str, Callable[[bytes], str | None]]] = {
        "MASTERING_DISPLAY_METADATA": (MASTERING, _mastering),
        "CONTENT_LIGHT_LEVEL": (LIGHT, _light),
        "STEREO3D": (STEREO, _stereo),
    }
    result = {}
    for kind, (name, read) in readers.items():
        value = read(found[kind]) if kind in found else None
        if value is not None:
            result[name] = value
    return result


def losses_of(found: dict[str, bytes]) -> set[str]:
    """What the side data holds that has no place in a `.lvz`."""
    return {text for kind, text in _LOST.items() if kind in found}


def _ratio(data: bytes, at: int, scale: int) -> int | None:
    num, den = struct.unpack_from("=ii", data, at)
    return round(num * scale / den) if den and num >= 0 else None


def _mastering(data: bytes) -> str | None:
    """AVMasteringDisplayMetadata → `G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)`, in 1/50000 and in 1/10000 cd/m²."""
    if len(data) < 88 or struct.unpack_from("=ii", data, 80) != (1, 1):
        return None
    red, green, blue, white = ([_ratio(data, at + 8 * i, 50000) for i in (0, 1)] for at in (0, 16, 32, 48))
    low, high = _ratio(data, 64, 10000), _ratio(data, 72, 10000)
    if any(value is None for value in (*red, *green, *blue, *white, low, high)):
        return None
    names = (("G", green), ("B", blue), ("R", red), ("WP", white), ("L", [high, low]))
    return "".join(f"{name}({a},{b})" for name, (a, b) in names)


def _light(data: bytes) -> str | None:
    """AVContentLightMetadata → `MaxCLL,MaxFALL`, in cd/m²."""
    if len(data) < 8:
        return None
    most, average = struct.unpack_from("=II", data)
    return f"{most},{average}" if most or average else None


def _stereo(data: bytes) -> str | None:
    if len(data) < 8:
        return None
    kind, flags = struct.unpack_from("=iI", data)
    if not 1 <= kind < len(STEREO_MODES):
        return None
    return STEREO_MODES[kind] + (INVERTED if flags & 1 else "")
