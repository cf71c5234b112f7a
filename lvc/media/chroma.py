"""Where chroma samples lie, which FFmpeg knows of a stream and PyAV does not tell.

The Matroska muxer writes it into its header. So a header is made in memory, and the two numbers are read from there.
(The log knows it too, but a log callback in Python and the threads of a decoder can wait for each other forever.)
"""

from __future__ import annotations

import io
import re
from typing import Any

from lvc.media.errors import AV_ERRORS
from lvc.media.open import open_output

# FFmpeg's AVChromaLocation by (ChromaSitingHorz, ChromaSitingVert): 1 is collocated with luma, 2 half way, 3 beyond
_LOCATIONS = {(1, 2): 1, (2, 2): 2, (1, 1): 3, (2, 1): 4, (1, 3): 5, (2, 3): 6}
# the elements 0x55B7 and 0x55B8, one byte each
_SITING = re.compile(rb"\x55\xb7\x81([\x00-\x03])\x55\xb8\x81([\x00-\x03])")


def chroma_location(stream: Any) -> int:
    """The `AVChromaLocation` of a video stream of an open container; 0 if it does not say."""
    buffer = io.BytesIO()
    try:
        with open_output(buffer, "matroska", {"strict": "-2"}) as container:
            container.add_stream_from_template(stream, opaque=True)
            container.start_encoding()
    except (OSError, *AV_ERRORS):
        return 0
    found = _SITING.search(buffer.getvalue())
    return _LOCATIONS.get((found[1][0], found[2][0]), 0) if found else 0
