"""Both readers on every conformance vector, the worked example of the spec, and the vectors' own upkeep."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lvz_reader as second
import pytest

from lvc.entropy.clip import unpack_verified
from lvc.entropy.model_file import model_file
from lvc.errors import LvcError
from lvc.lvz import PACKING_ZSTD, LvzReader, clips_only

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ROOT / "formats"
VECTORS = FORMATS / "vectors"
EXPECTED: dict[str, dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text("utf-8"))


def read_with_lvc(data: bytes, base: bytes | None = None) -> dict[str, Any]:
    r = LvzReader(io.BytesIO(data))
    s = r.verify()
    if r.model_chunk is not None and base is not None:
        model_file(r.model_chunk, r.header.model_sha256, base)
    if r.video.packing == PACKING_ZSTD:
        geometry = r.video.geometry
        for clip in clips_only(r.records()):
            n = geometry.latent_frames(clip.n_frames)
            unpack_verified(clip.payload, geometry, n, clip.latents_crc, clip.key)
    return {
        "frames": s.frames, "clips": s.clips, "gops": s.gops, "packets": list(s.packets), "file_bytes": s.file_bytes,
        "clip_bytes": s.clip_bytes, "packet_bytes": s.packet_bytes, "start_pts": s.start_pts, "end_pts": s.end_pts,
        "sha256": s.sha256,
    }  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_both_readers_agree(name: str) -> None:
    data = (VECTORS / name).read_bytes()
    want = EXPECTED[name]
    base = (VECTORS / want["base_model"]).read_bytes() if "base_model" in want else None
    assert len(data) < 8192 or "md5" in want  # which carry a model
    try:
        found: dict[str, Any] = {"error": None, "exit_code": 0, "counts": read_with_lvc(data, base)}
    except LvcError as error:
        found = {"error": type(error).__name__, "exit_code": error.exit_code}
    assert {k: found[k] for k in ("error", "exit_code")} == {k: want[k] for k in ("error", "exit_code")}
    assert found.get("counts") == want.get("counts")
    try:
        result = second.read_file(io.BytesIO(data), base=base)
    except second.LvzError as error:
        assert (type(error).__name__, error.exit_code) == (want["error"], want["exit_code"]), str(error)
    else:
        if "features" in want:
            assert result["features"] == want["features"]
        counts = result["counts"]
        checked = counts.pop("latents_checked")
        assert counts == want["counts"] and want["error"] is None
        assert checked == (counts["clips"] if result["video"]["packing"] == PACKING_ZSTD else 0)


def test_the_flaws_are_the_ones_meant() -> None:
    """A vector that fails for another reason than its name says proves nothing: a few messages are looked at."""
    words = {
        "bad-gap": "expected 3", "bad-pts": "starts before", "bad-gop-goes-on": "has ended", "bad-tail-count": "TAIL",
        "bad-index-short": "index", "bad-index-entry": "index", "bad-tail-sha256": "SHA-256", "bad-crc": "CRC",
        "bad-zstd-window": "window", "bad-zstd-size": "declares", "bad-zstd-no-size": "declares",
        "bad-key-kind": "key clip", "bad-escape": "escaped", "bad-many-clips": "fit", "bad-stream": "undescribed",
        "bad-late-stream": "out of place", "bad-index-not-last": "not followed", "bad-clip-sizes": "too early",
        "bad-zstd-trailing": "zstd", "bad-latents-crc": "checksum", "bad-mask-without-skip": "masked",
        "bad-repeat": "expected 3", "bad-first-not-key": "expected 0", "bad-packet-count": "without packets",
        "bad-limit-values": "values", "bad-varint": "shortest", "bad-checks-padding": "behind the checks",
        "bad-no-clips": "0 clips", "bad-checks-short": "too early", "bad-limit-clip-values": "64 frames have",
        "bad-early-model": "out of place",
        "bad-clip-without-frames": "without frames", "bad-limit-rans-frames": "33 frames in a clip",
        "bad-limit-frames": "127 frames in a clip", "bad-limit-group": "65600 frames", "bad-model-hash": "HEAD names",
        "bad-two-models": "second MODL", "bad-late-model": "out of place", "bad-model-short": "too early",
        "bad-model-delta-hash": "HEAD names", "bad-model-delta-window": "large window", "bad-limit-model": "limit 167",
        "bad-model-delta-no-size": "declare its size", "bad-model-delta-trailing": "damaged",
        "bad-model-delta-magic": "not a zstd frame", "unsupported-check-size": "CLIP uses a reserved",
        "unsupported-rans-depth": "12 bits", "unsupported-rans-chroma": "chroma 422",
        "unsupported-rans-stride": "temporal stride 2", "unsupported-old-rans": "earlier lvc",
    }  # fmt: skip
    for name, word in words.items():
        with pytest.raises(LvcError, match=word):
            read_with_lvc((VECTORS / f"{name}.lvz").read_bytes(), (VECTORS / "base-model.bin").read_bytes())


def test_the_integers_are_the_same() -> None:
    """The second reader's latents, value by value, are those that `lvc` unpacks."""
    for name in ("good-everything", "good-foreign-vae", "good-compressed"):
        r = LvzReader(io.BytesIO((VECTORS / f"{name}.lvz").read_bytes()))
        with (VECTORS / f"{name}.lvz").open("rb") as file:
            video = second.read_file(file)["video"]
        geometry = r.video.geometry
        for clip in clips_only(r.records()):
            n = geometry.latent_frames(clip.n_frames)
            ours = unpack_verified(clip.payload, geometry, n, clip.latents_crc, clip.key)
            theirs = second.unpack_zstd(clip.payload, video, n)
            for a, b in zip(ours, theirs, strict=True):
                assert (a.kind, a.quality) == (b["kind"], b["quality"])
                assert {k: v.ravel().tolist() for k, v in a.planes.items()} == {k: b[k] for k in a.planes}


def test_hashes_and_names() -> None:
    lines = (VECTORS / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {p.name for p in VECTORS.iterdir()} - {"SHA256SUMS"}
    assert set(sums) == files
    for name in files:
        assert hashlib.sha256((VECTORS / name).read_bytes()).hexdigest() == sums[name], name
    assert set(EXPECTED) == {n for n in files if n.endswith(".lvz")}
    for name, want in EXPECTED.items():
        kind = name.split("-")[0]
        assert {"good": want["exit_code"] == 0, "bad": want["exit_code"] in (4, 7),
                "unsupported": want["exit_code"] == 5}[kind]  # fmt: skip


def test_the_script_makes_exactly_these_files() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_vectors.py"), "--check"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_worked_example_of_the_spec() -> None:
    text = (FORMATS / "lvz.md").read_text("utf-8")
    dump = re.findall(r"^ *(\d+)  ((?:[0-9A-F]{2} ?)+)(?: |$)", text[text.index("## 14 Worked example") :], re.M)
    data = bytearray()
    for offset, part in dump:
        assert int(offset) == len(data)
        data += bytes.fromhex(part)
    assert bytes(data) == (VECTORS / "good-tiny.lvz").read_bytes()
    frame = second.check_latents
    assert frame is not None and read_with_lvc(bytes(data))["frames"] == 1


@pytest.mark.slow
def test_second_reader_from_the_command_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(FORMATS / "lvz_reader.py"), *arguments], capture_output=True, text=True
        )

    good = run(str(VECTORS / "good-everything.lvz"), "--json")
    assert good.returncode == 0 and json.loads(good.stdout)["counts"]["frames"] == 15
    plain = run(str(VECTORS / "good-rans.lvz"))
    assert plain.returncode == 0 and "CLIP" in plain.stdout and "not compared" in plain.stdout
    for name, code in (("bad-crc", 4), ("unsupported-version", 5), ("bad-limit-side", 7)):
        failed = run(str(VECTORS / f"{name}.lvz"), "--json")
        assert failed.returncode == code == json.loads(failed.stdout)["exit_code"] and "Traceback" not in failed.stderr
    delta, base = str(VECTORS / "good-model-delta.lvz"), str(VECTORS / "base-model.bin")
    assert json.loads(run(delta, "--json").stdout)["model"]["bytes"] is None
    assert json.loads(run(delta, "--json", "--base", base).stdout)["model"]["bytes"] == 1029
    assert run(delta, "--base", delta).returncode == 5 and run("--base", base).returncode == 2
    assert run().returncode == 2
    assert run(str(tmp_path / "none.lvz")).returncode == 3


def test_second_reader_imports_nothing_of_lvc() -> None:
    source = (FORMATS / "lvz_reader.py").read_text("utf-8")
    modules = re.findall(r"^(?:import|from) (\S+)", source, re.M)
    assert set(modules) <= {"__future__", "hashlib", "json", "math", "struct", "sys", "zlib", "array", "zstandard"}
