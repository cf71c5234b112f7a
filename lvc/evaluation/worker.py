"""One encoding, decoding or comparison in its own process, so that its time and memory can be measured.

    python -m lvc.evaluation.worker '{"job": "encode", "codec": "lvc", …}'

The parent is `measure.Workers`. The last line on stdout is the answer as JSON: `frames`, `fps` (steady), `rss` (peak,
bytes), `cpu` (seconds of processor time), or `error` and `exit_code`. Decoded pictures are written to `dst` as bare
planes of the reference's depth, which `judge` then compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvc.errors import LvcError
from lvc.files.memory import share_one_heap
from lvc.media.usage import cpu_seconds, peak_of_children, peak_rss

Answer = dict[str, Any]


def main(text: str) -> int:
    job = json.loads(text)
    share_one_heap()  # as the command does
    try:
        answer = JOBS["lvc" if job["codec"] == "lvc" else "anchor", job["job"]](job)
    except LvcError as e:
        answer = {"error": str(e), "exit_code": e.exit_code, "kind": type(e).__name__}
    except Exception as e:  # a worker always answers: the run continues with the next clip
        answer = {"error": f"{type(e).__name__}: {e}", "exit_code": 1, "kind": type(e).__name__}
    print(json.dumps({"rss": peak_rss(), "cpu": cpu_seconds(), **answer}), flush=True)
    return 0


def lvc_encode(job: Answer) -> Answer:
    from lvc.evaluation.macs import Macs
    from lvc.evaluation.timing import Arrivals
    from lvc.files import encode_file

    arrivals, macs = Arrivals(), Macs()
    macs.count()
    result = encode_file(
        job["src"],
        job["dst"],
        audio="none",
        subtitles="none",
        force=True,
        threads=job["threads"],
        progress=lambda frames, *_: arrivals(frames),
        **job["settings"],
    )
    return {"frames": result.frames, "fps": arrivals.steady_fps(), "macs": macs.total}


def lvc_decode(job: Answer) -> Answer:
    from lvc.evaluation.macs import Macs
    from lvc.evaluation.planes import Picture, at_depth
    from lvc.evaluation.source import Source
    from lvc.evaluation.timing import Arrivals
    from lvc.files import decode_frames
    from lvc.media.ffmpeg import write_picture

    arrivals, macs, depth = Arrivals(), Macs(), Source(job["reference"]).format.bit_depth
    macs.count()
    size = None
    with open(job["dst"], "wb") as out:
        for frame in decode_frames(job["src"], model=job["settings"].get("model"), threads=job["threads"]):
            arrivals()
            size = size or frame.y.shape
            write_picture(out, at_depth(Picture(frame.y, frame.u, frame.v), depth))
    return {"frames": len(arrivals.times), "fps": arrivals.steady_fps(), "size": size, "macs": macs.total}


def anchor_encode(job: Answer) -> Answer:
    from lvc.evaluation import anchors
    from lvc.evaluation.source import Source

    source = Source(job["src"])
    anchor = anchors.Anchor.parse(job["codec"], job["threads"])
    done = anchors.encode(source, source.format, anchor, job["settings"]["crf"], Path(job["dst"]))
    return {"frames": done.frames, "fps": done.frames / done.seconds, "rss": max(peak_rss(), peak_of_children())}


def anchor_decode(job: Answer) -> Answer:
    from lvc.evaluation import anchors
    from lvc.evaluation.source import Source
    from lvc.evaluation.timing import timed
    from lvc.media.ffmpeg import write_picture

    anchor = anchors.Anchor.parse(job["codec"], job["threads"])
    spent, frames, key_frames, size = [0.0], 0, 0, None
    with open(job["dst"], "wb") as out:
        decoded = anchors.decode_marked(Path(job["src"]), anchor, Source(job["reference"]).format)
        for picture, is_key in timed(decoded, spent):
            frames += 1
            key_frames += is_key
            size = size or picture.y.shape
            write_picture(out, picture)
    return {"frames": frames, "fps": frames / spent[0], "size": size, "key_frames": key_frames}


def judge(job: Answer) -> Answer:
    from lvc.evaluation.judge import judge as compared

    return compared(job)


JOBS: dict[tuple[str, str], Callable[[Answer], Answer]] = {
    ("lvc", "encode"): lvc_encode,
    ("lvc", "decode"): lvc_decode,
    ("lvc", "judge"): judge,
    ("anchor", "encode"): anchor_encode,
    ("anchor", "decode"): anchor_decode,
    ("anchor", "judge"): judge,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
