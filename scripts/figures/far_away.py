#!/usr/bin/env python3
"""What a part of a far-away file costs, and what single frames cost: bytes, requests, time to the first frame.

    scripts/figures/far_away.py [--work FOLDER] [--seconds 60] [--ranges 20] [--frames 100]

Makes a film of the validation clips ($LVC_DATA/val, by default ../shared/data/val beside the checkout), 352x288 at 15
frames a second with a tone, as MP4 (x264 medium, CRF 23, GOPs of 250 frames and of a second) and as .lvz (quality 50,
GOPs of 10 s and of a second); FOLDER keeps them for the next time. Then, over a web server on this machine: 2 s from
random places. And from the files: random frames as RGB, by lvc and by PyAV's seeking. One thread, the model loaded.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

import lvc
from lvc.lvz import LvzReader
from lvc.media import Frame, MediaReader
from lvc.media.planes import frame_from_planes

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT, FPS = 352, 288, 15
GOPS = {"10 s": (10.0, 250), "1 s": (1.0, FPS)}


def film(folder: Path, count: int) -> Iterator[Frame]:
    """Six seconds of each clip, again and again."""
    number = 0
    while number < count:
        for clip in sorted(filter(Path.is_file, folder.iterdir())):
            with MediaReader(clip, resolution=f"{WIDTH}x{HEIGHT}", fps=FPS, duration=6, audio="none") as reader:
                if reader.video.width != WIDTH:  # a picture that is shown turned
                    continue
                for item in reader:
                    if isinstance(item, Frame) and number < count:
                        yield replace(item, pts=number, duration=1)
                        number += 1


def make(work: Path, clips: Path, seconds: int) -> None:
    for name, (gop, keyint) in GOPS.items():
        mp4, lvz = work / f"{name}.mp4", work / f"{name}.lvz"
        if not mp4.exists():
            write_mp4(mp4, clips, seconds, keyint)
        if not lvz.exists():
            print(lvc.encode_file(mp4, lvz, gop=gop, threads=1), flush=True)


def write_mp4(path: Path, clips: Path, seconds: int, keyint: int) -> None:
    with av.open(str(path), "w") as out:
        options = {"preset": "medium", "crf": "23", "g": str(keyint)}
        video: Any = out.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, FPS)
        sound: Any = out.add_stream("aac", rate=48000, layout="mono", options={"b": "64k"})
        for frame in film(clips, seconds * FPS):
            picture = frame_from_planes(frame.y, frame.u, frame.v, WIDTH, HEIGHT)
            picture.pts, picture.time_base = frame.pts, Fraction(1, FPS)
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        wave = np.sin(np.arange(1024) * 0.05).astype(np.float32)[None] * 0.3
        for block in range(seconds * 48000 // 1024):
            tone = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            tone.sample_rate, tone.pts, tone.time_base = 48000, block * 1024, Fraction(1, 48000)
            out.mux(sound.encode(tone))
        out.mux(sound.encode(None))


class Served:
    """A file on a web server of this machine, whose bytes and requests are counted."""

    def __init__(self, data: bytes) -> None:
        self.bytes = self.requests = 0
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
                if match is None:
                    self.send_error(400)
                    return
                start, end = int(match[1]), min(int(match[2]) + 1, len(data))
                served.requests += 1
                served.bytes += end - start
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
                self.send_header("Content-Length", str(end - start))
                self.end_headers()
                self.wfile.write(data[start:end])

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/film.lvz"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def ranges(path: Path, starts: list[float], model: Any) -> None:
    """2 s from each of `starts`, each by a reader that knows nothing of the file yet, but has the model."""
    data = path.read_bytes()
    with path.open("rb") as file:
        reader = LvzReader(file)
        index, tail, tick = reader.index, reader.tail, reader.video.seconds_per_tick
    if index is None or tail is None:
        raise SystemExit(f"{path} has no index")
    index_bytes = len(data) - index.offset
    places = [(g.offset, float(g.start_pts * tick)) for g in index.gops] + [(index.offset, float(tail.end_pts * tick))]
    whole = list(lvc.open(path, threads=1))
    served = Served(data)
    over, fetched, requests, first, core, share = [], [], [], [], [], []
    for start in starts:
        served.bytes = served.requests = 0
        began, core_began = time.monotonic(), time.process_time()
        with lvc.open(served.address, threads=1, model=model) as video:
            frames = video.between(start, start + 2)
            found = [next(frames)]
            first.append(time.monotonic() - began)
            core.append(time.process_time() - core_began)
            found += frames
        gops = sum(b[0] - a[0] for a, b in pairwise(places) if b[1] > start and a[1] < start + 2)
        over.append(served.bytes - index_bytes - gops)
        fetched.append(served.bytes)
        share.append(gops)
        requests.append(served.requests)
        if not same(found, [f for f in whole if start <= f.time < start + 2]):
            raise SystemExit(f"{path}: the frames from {start} on are not those of a full decode")
    served.server.shutdown()
    print(
        f"{path.name}: {len(data):,} bytes, index and tail {index_bytes}; 2 s from {len(starts)} places: "
        f"{statistics.mean(fetched):,.0f} bytes fetched, {statistics.mean(share):,.0f} of them GOPs, "
        f"never more than {max(over):,} besides index and GOPs (allowed: 65,536); {max(requests)} requests; "
        f"first frame after {statistics.median(first):.2f} s ({min(first):.2f} to {max(first):.2f}), of that "
        f"{statistics.median(core):.2f} s ({min(core):.2f} to {max(core):.2f}) of one core; "
        "all frames equal to a full decode's",
        flush=True,
    )


def same(found: list[lvc.Frame], wanted: list[lvc.Frame]) -> bool:
    return len(found) == len(wanted) and all(
        a.time == b.time and all(map(np.array_equal, (a.y, a.u, a.v), (b.y, b.u, b.v)))
        for a, b in zip(found, wanted, strict=True)
    )


def seeking(path: Path, times: list[float]) -> float:
    """Frames a second of the processor, as RGB, each by a seek of PyAV."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "NONE"
        began = time.process_time()
        for moment in times:
            wanted = int(moment / stream.time_base)
            file.seek(wanted, stream=stream)
            for frame in file.decode(stream):
                if frame.pts + frame.duration > wanted:
                    frame.to_ndarray(format="rgb24")
                    break
        return len(times) / (time.process_time() - began)


def random_access(work: Path, name: str, times: list[float], singles: int, model: Any) -> None:
    video = lvc.open(work / f"{name}.lvz", threads=1, model=model)
    began = time.process_time()
    count = sum(1 for frame in video.at(times) if frame.to_rgb().size)
    together = count / (time.process_time() - began)
    video = lvc.open(work / f"{name}.lvz", threads=1, model=model)  # which has kept nothing yet
    began = time.process_time()
    for moment in times[:singles]:
        video.at(moment).to_rgb()
    alone = singles / (time.process_time() - began)
    print(
        f"{name} GOPs, {len(times)} random frames, a second of one core: lvc at([…]) {together:.2f}, one by one "
        f"{alone:.2f} ({singles} of them); PyAV seeking in x264 {seeking(work / f'{name}.mp4', times):.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--ranges", type=int, default=20)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--singles", type=int, default=20)
    args = parser.parse_args()
    os.environ["LVC_CACHE"], os.environ["no_proxy"] = "off", "*"
    clips = Path(os.environ.get("LVC_DATA", ROOT.parent / "shared" / "data")) / "val"
    dice = random.Random(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        make(work, clips, args.seconds)
        starts = [dice.uniform(0, args.seconds - 2) for _ in range(args.ranges)]
        times = [dice.uniform(0, args.seconds) for _ in range(args.frames)]
        began = time.monotonic()
        model = lvc.load_model()
        print(f"loading the model: {time.monotonic() - began:.2f} s")
        for name in GOPS:
            ranges(work / f"{name}.lvz", starts, model)
            if times:
                random_access(work, name, times, args.singles, model)


if __name__ == "__main__":
    main()
