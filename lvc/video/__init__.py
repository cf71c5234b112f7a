"""A `.lvz` for programs: `lvc.open(path_or_address)[12.5:20.0]`.

Nothing is opened before it is needed, and then once per process: a `Video` can be pickled and handed to the workers of
a `DataLoader`. Times are seconds from the first frame.
"""

from lvc.video.frames import Planes, Video, VideoFrame, open

__all__ = ["Planes", "Video", "VideoFrame", "open"]
