"""Record a camera or a video, find in it what a picture or a clip shows, and save these frames.

python record_and_find.py /dev/video0 archive/ query.jpg
"""

import sys
from itertools import takewhile
from pathlib import Path

import av

import lvc

source, folder, query = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
folder.mkdir(exist_ok=True)

with av.open(source, format="v4l2" if source.startswith("/dev/") else None) as camera:
    video = camera.streams.video[0]
    with lvc.Writer(folder / "camera.lvz", video.width, video.height, fps=None, quality=60, force=True) as writer:
        for frame in takewhile(lambda frame: frame.time < 60, camera.decode(video)):
            writer.write(frame)
print(writer.result)

with lvc.SearchIndex(folder / "index") as index:
    index.add(folder)
    hits = index.find(query, top=3)

for number, hit in enumerate(hits):
    print(f"{hit.path}: {hit.start:.1f} to {hit.end:.1f} s, score {hit.score:.2f}")
    with lvc.open(hit.path) as found:
        found.at((hit.start + hit.end) / 2).to_image().save(folder / f"found-{number}.png")
