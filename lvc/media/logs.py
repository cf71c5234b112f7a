"""FFmpeg's log: silent, except where it is the only place that tells something."""

from __future__ import annotations

import os
import re
import threading
from typing import Any

import av
import av.logging

CHROMA_LOCATIONS = {"left": 1, "center": 2, "topleft": 3, "top": 4, "bottomleft": 5, "bottom": 6}

_lock = threading.Lock()


def silence() -> None:
    """Keep encoders off stderr. PyAV is silent by itself; SVT-AV1 prints on its own unless its variable is set."""
    os.environ.setdefault("SVT_LOG", "1")  # errors only


def chroma_location(container: Any, index: int) -> int:
    """Where stream `index` says its chroma samples lie (0 unknown).

    PyAV has no attribute for it; FFmpeg's format dump prints it at level "verbose", and only there.
    """
    with _lock:
        before = av.logging.get_level()
        try:
            av.logging.set_level(av.logging.VERBOSE)
            av.logging.set_libav_level(av.logging.VERBOSE)
            text = container.dumps_format()
        finally:
            av.logging.set_libav_level(av.logging.INFO)
            av.logging.set_level(before)
    for line in text.splitlines():
        stream = re.match(r"\s*Stream #\d+:(\d+)\b.*?: Video: (.*)", line)
        if stream and int(stream.group(1)) == index:
            words = re.findall(r"[a-z]+", " ".join(re.findall(r"\(([^)]*)\)", stream.group(2))))
            return next((CHROMA_LOCATIONS[word] for word in words if word in CHROMA_LOCATIONS), 0)
    return 0
