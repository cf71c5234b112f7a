"""What a file says of itself is printed on one line, whatever it is."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from lvc.facts import info_file
from lvc.lvz import Chapter, CopiedStream, Header, LvzWriter, Metadata, PlaneSpec, VideoDescriptor

FORGED = "x\n  model  forged\r\x1b[2J\t\u2028\u202e\x85y"


def test_nothing_in_a_file_forges_a_line_of_info(tmp_path: object) -> None:
    out = io.BytesIO()
    video = VideoDescriptor(16, 16, (PlaneSpec("z", "int8", 1, 16),), 5, time_base=(1, 25))
    metadata = Metadata({FORGED: FORGED, "title": FORGED}, (Chapter(0, 1, (1, 1), {"title": FORGED}),))
    sound = CopiedStream("audio", FORGED, (1, 8000), FORGED)
    with LvzWriter(out, Header(FORGED, bytes(32), FORGED), video, (sound,), metadata):
        pass
    path = f"{tmp_path}/a.lvz"
    with open(path, "wb") as file:
        file.write(out.getvalue())
    lines = str(info_file(path)).split("\n")
    starts = {line.split("  ")[1].split(" ")[0] for line in lines if line}
    assert not [line for line in lines if line.startswith("  model  forged")]
    assert {"video", "length", "audio", "title", "chapter", "model", "made", "of"} <= starts and len(lines) == 11
    assert all(c.isprintable() for line in lines for c in line)


def test_info_tells_of_the_model_in_a_file_and_of_its_checks() -> None:
    vectors = Path(__file__).resolve().parents[1] / "formats" / "vectors"
    whole, delta, plain = (info_file(str(vectors / f"good-{name}.lvz")) for name in ("model", "model-delta", "rans"))
    base = hashlib.sha256((vectors / "base-model.bin").read_bytes()).hexdigest()
    assert whole.values["model_inside"] == {"bytes": 1029, "base_sha256": None}
    assert delta.values["model_inside"] == {"bytes": 33, "base_sha256": base}
    assert plain.values["model_inside"] is None and plain.values["frame_checks"] and not whole.values["frame_checks"]
    assert "in the file, 1,029 bytes" in str(whole) and f"builds on {base[:16]}" in str(delta)
    assert "of every frame" in str(plain)
