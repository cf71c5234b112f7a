"""A camera for tests: `sender.py ADDRESS FORMAT FRAMES FPS` sends a moving pattern, 160x96 and a tone, in real time. It
does not outlive who started it."""

from __future__ import annotations

import os
import sys
import time
from fractions import Fraction

import av
import numpy as np

address, kind, frames, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with av.open(sys.stdout.buffer if address == "-" else address, "w", format=kind) as out:
    video = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "tune": "zerolatency", "g": "10"})
    video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
    sound = out.add_stream("mp2", rate=48000)
    samples = 0
    begin, parent = time.monotonic(), os.getppid()
    for number in range(frames):
        if os.getppid() != parent:
            break
        planes = np.full((144, 160), 128, np.uint8)
        planes[:96] = np.add.outer(np.arange(96), np.arange(160) + 3 * number) % 256
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts = number
        out.mux(video.encode(frame))
        while samples < 48000 * number // rate:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), "s16", "mono")
            tone.sample_rate, tone.pts, tone.time_base = 48000, samples, Fraction(1, 48000)
            out.mux(sound.encode(tone))
            samples += 1152
        time.sleep(max(0.0, begin + (number + 1) / rate - time.monotonic()))
    out.mux(video.encode())
