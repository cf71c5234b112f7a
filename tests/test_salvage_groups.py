"""Salvage hands each group of clips to the decoder as a list of its own."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from lvc.errors import CorruptError
from lvc.files.decode import Decoding, _gops
from lvc.lvz import PACKING_RANS, Clip, Header, LvzReader, LvzWriter, VideoDescriptor, codec_planes
from lvc.media import Frame


def clip(first: int, key: bool) -> Clip:
    return Clip(first, key, [first], [1], 0, b"\0")


def test_a_decoder_that_failed_cannot_take_clips_of_the_next_group() -> None:
    """Its thread may still read when the next group is asked for: with one iterator for all it took from that."""
    clips = [clip(n, n in (0, 3, 4)) for n in range(7)]
    groups = _gops(iter(clips))
    first = iter(next(groups))
    next(first)
    second = next(groups)
    assert [c.first_frame for c in first] == [1, 2]
    assert [c.first_frame for c in second] == [3]
    assert [[c.first_frame for c in group] for group in groups] == [[4, 5, 6]]
    assert list(_gops(iter([]))) == []


def test_frames_that_the_decoder_refuses_are_named() -> None:
    """A clip whose checksums in the file are right and whose pictures are not: what follows in its group is lost."""

    def decoded(clips: Iterable[Clip], *_: Any, **__: Any) -> Iterator[Frame]:
        for item in clips:
            if item.payload == b"bad":
                raise CorruptError("a picture has another checksum")
            for pts in item.pts:
                yield Frame(*(np.zeros((2, 2), np.uint8),) * 3, pts, 1)

    out = io.BytesIO()
    with LvzWriter(out, Header("x"), VideoDescriptor(16, 16, codec_planes(1, 1, 1, 1), PACKING_RANS)) as writer:
        for first, payload in enumerate((b"a", b"b", b"bad", b"c", b"d", b"e", b"bad", b"f")):
            writer.write_clip(Clip(first, first in (0, 4, 7), [first], [1], None, payload))
    decoding = Decoding(
        LvzReader(io.BytesIO(out.getvalue()), salvage=True), None, None, True, with_packets=False, from_zero=False
    )
    model: Any = SimpleNamespace(decode=decoded)
    assert [frame.pts for frame in decoding.items(model, None) if isinstance(frame, Frame)] == [0, 1, 4, 5, 7]
    assert decoding.damage == [
        "2 frames, 2 to 3, are lost: a picture has another checksum",
        "1 frame, 6, is lost: a picture has another checksum",
    ]
