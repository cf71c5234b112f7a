"""For programs: frames in, bytes out, and back, without files where none are wanted.

    lvc.Writer, lvc.encode      frames ─▶ `.lvz`
    lvc.open, lvc.decode        `.lvz` ─▶ frames, by number, by time, or one after the other

Nothing is opened before it is needed, and then once per process: a `Video` can be pickled and handed to the workers of
a `DataLoader`.
"""

from lvc.video.frame import Frame
from lvc.video.video import Video, decode, open
from lvc.video.writer import Writer, encode

__all__ = ["Frame", "Video", "Writer", "decode", "encode", "open"]
