#!/usr/bin/env python3
"""Writes `formats/vectors/`: small good, bad and unsupported `.lvz` files, what to expect of them, and their hashes.

    python scripts/make_vectors.py [--check] [--out FOLDER]

The same bytes on every run and machine: zstd frames are made from raw blocks, but for one that is spelled out.
`--check` writes nothing and exits 1 if a file differs. The hex dump at the end of `formats/lvz.md` is renewed as well.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
from pathlib import Path

from lvc.lvz import FeatureTrack, LvzReader
from scripts.vector_cases import BASE_MODEL, bad_cases, good_cases, other_cases
from scripts.vector_model import bad_models, deltas, model_bytes, rans_video, small_model

ROOT = Path(__file__).resolve().parent.parent
DUMP_HEADING = "## 14 Worked example"

LAYOUT = """8 signature
4 `HEAD`|4 length 48|2 version 1|4 required_features|4 optional_features
32 model_sha256: none|5 model_id "tiny"|1 created_by ""|4 crc
4 `VSTR`|4 length 42|1 packing 1, zstd|3 width, height, align 16|2 time_base 1/25|2 frame_rate 25/1|2 sar 1/1
1 rotation|1 flags|3 primaries, transfer, matrix 2|2 color_range, chroma_location 0|1 bit_depth 8|2 chroma 400
5 source_pix_fmt "gray"|8 gop_seconds 0.0|2 temporal_stride, temporal_lead 1|1 planes: 1|2 name "z"
1 dtype 2, int16|1 plane_flags: in_key, in_predicted|1 channels 2|1 stride 16|4 crc
4 `CLIP`|4 length 31|1 flags: key, gop_end|1 first_frame 0|1 n_clips 1|2 clip_frames: base 1, width 0
2 pts_differences: base 0, width 0|1 last_duration 1|1 size 18|4 latents_crc
4 payload: magic number of zstd|1 single segment, size in one byte|1 content size 9|3 one raw block of 9 bytes, the last
1 structure 0|2 kind 0, zero|2 quality 50|1 value 7|1 -128: escaped|2 escaped value -300|4 crc
4 `INDX`|4 length 4|1 entry_kind 0, GOP|1 offset_step 122|1 frame_step 0|1 pts_step 0|4 crc
4 `TAIL`|4 length 72|8 index_offset 165|8 frame_count 1|8 clip_count 1|8 start_pts 0|8 end_pts 1|32 sha256|4 crc"""


def worked_example(data: bytes) -> str:
    """Lines of `offset  bytes  meaning`, at most 16 bytes each, between code fences."""
    lines = []
    at = 0
    for item in LAYOUT.replace("|", "\n").splitlines():
        size, meaning = item.split(" ", 1)
        for start in range(at, at + int(size), 16):
            part = data[start : min(start + 16, at + int(size))]
            lines.append(f"{start:4d}  {part.hex(' ').upper():<47}  {meaning if start == at else ''}".rstrip())
        at += int(size)
    if at != len(data):
        raise SystemExit(f"LAYOUT has {at} bytes, the file {len(data)}")
    return "```text\n" + "\n".join(lines) + "\n```\n"


def renewed_document(text: str, data: bytes) -> str:
    start = text.index("```text", text.index(DUMP_HEADING)) if "```text" in text else len(text)
    return text[:start] + worked_example(data)


EXIT_CODES = {None: 0, "CorruptError": 4, "TruncatedError": 4, "UnsupportedError": 5, "LimitError": 7}

README = """# Conformance vectors for `.lvz` version 1

Written by `scripts/make_vectors.py`; do not edit. `expected.json` says of every file what it shows, the error class
and exit code that a reader must give with the default limits (section 12 of `../lvz.md`), and for good files what is
counted in them. Where it lists `features`, a reader that searches finds these tracks; their `sha256` is that of the
vectors. Where it names a `base_model`, a reader is given that file as the model that the one in the file builds
on (`lvz_reader.py --base`), where it has `md5`, these are the sums of the frames that a decoder gives: Y, U and V as
shown, row by row, with 10 bits as 16-bit little-endian numbers (`lvz_decoder.py` prints them). `models.json` says of
`model-*.safetensors` what a decoder has to find before it runs any of them (section 8 of `../decoder.md`),
`deltas.json` the same of `delta-*.safetensors`, all with the base `model-good.safetensors`.
`SHA256SUMS` is for `sha256sum -c`.

| name | meaning |
|---|---|
| `good-*` | must be read; every checksum is right, including those of the latents where the packing is zstd |
| `bad-*` | must be refused as corrupt or truncated (exit code 4), or as over a limit (7) |
| `unsupported-*` | intact, but newer than version 1: must be refused as unsupported (5) |

Each file has one flaw. A new reader passes when it gives the expected exit code for all of them; `tests/formats` does
that with `lvc` and with `../lvz_reader.py`.

"""


def said_of(track: FeatureTrack) -> dict[str, object]:
    """What a reader that searches has to find, as `lvz_reader.py --json` prints it."""
    return {
        "kind": track.kind, "extractor": track.extractor, "fingerprint": track.fingerprint.hex(), "form": track.form,
        "dimensions": track.dimensions, "time_base": list(track.time_base), "count": len(track.pts),
        "first": track.pts[0], "last": track.pts[-1], "sha256": hashlib.sha256(track.vectors).hexdigest(),
    }  # fmt: skip


def build() -> dict[str, bytes]:
    """File name → content, of everything in the folder."""
    cases = {**good_cases(), **bad_cases(), **other_cases()}
    expected = {}
    files = {"base-model.bin": BASE_MODEL}
    sums = {}
    for name, depth, shows in (("good-rans-video", 8, ""), ("good-rans-ten-bits", 10, ", 10 bits a sample")):
        video, sums[name] = rans_video(depth=depth)
        text = f"twelve frames and the tiny model that decodes them: every structure{shows}"
        cases[name] = video, text, None
    for name in sorted(cases):
        data, shows, error = cases[name]
        entry: dict[str, object] = {"shows": shows, "error": error, "exit_code": EXIT_CODES[error]}
        if "-delta" in name or name == "bad-limit-model":
            entry["base_model"] = "base-model.bin"
        if error is None:
            reader = LvzReader(io.BytesIO(data))
            if name.startswith("good-features"):
                entry["features"] = [said_of(track) for track in reader.features]
            s = reader.verify()
            entry["counts"] = {
                "frames": s.frames, "clips": s.clips, "gops": s.gops, "packets": list(s.packets),
                "file_bytes": s.file_bytes, "clip_bytes": s.clip_bytes, "packet_bytes": s.packet_bytes,
                "start_pts": s.start_pts, "end_pts": s.end_pts, "sha256": s.sha256,
            }  # fmt: skip
        if name in sums:
            entry["md5"] = sums[name]
        files[f"{name}.lvz"] = data
        expected[f"{name}.lvz"] = entry
    rows = "".join(f"| `{n}` | {e['shows']} | {e['error'] or 'ok'} |\n" for n, e in expected.items())
    models = {"good": (model_bytes(small_model(), "good"), "a program of three layers", None)}
    models |= {f"bad-{name}": case for name, case in bad_models().items()}
    of_models = {}
    for name, (data, shows, error) in models.items():
        files[f"model-{name}.safetensors"] = data
        of_models[f"model-{name}.safetensors"] = {"shows": shows, "error": error, "exit_code": EXIT_CODES[error]}
    of_deltas = {}
    for name, (data, shows, error) in deltas(files["model-good.safetensors"]).items():
        files[f"delta-{name}.safetensors"] = data
        of_deltas[f"delta-{name}.safetensors"] = {"shows": shows, "error": error, "exit_code": EXIT_CODES[error]}
    files["deltas.json"] = (json.dumps(of_deltas, indent=1, ensure_ascii=False) + "\n").encode()
    files["models.json"] = (json.dumps(of_models, indent=1, ensure_ascii=False) + "\n").encode()
    rows += "".join(f"| `{n}` | {e['shows']} | {e['error'] or 'ok'} |\n" for n, e in (of_models | of_deltas).items())
    files["expected.json"] = (json.dumps(expected, indent=1, ensure_ascii=False) + "\n").encode()
    files["README.md"] = (README + "| file | shows | result |\n|---|---|---|\n" + rows).encode()
    sums = "".join(f"{hashlib.sha256(files[n]).hexdigest()}  {n}\n" for n in sorted(files))
    files["SHA256SUMS"] = sums.encode()
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes formats/vectors.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if a file differs")
    parser.add_argument("--out", type=Path, default=ROOT / "formats" / "vectors")
    arguments = parser.parse_args()
    files = build()
    present = {p.name: p.read_bytes() for p in arguments.out.glob("*")} if arguments.out.is_dir() else {}
    document = ROOT / "formats" / "lvz.md"
    renewed = renewed_document(document.read_text("utf-8"), files["good-tiny.lvz"])
    if renewed != document.read_text("utf-8"):
        print("differs: lvz.md")
        if arguments.check:
            return 1
        document.write_text(renewed, "utf-8")
    differ = sorted(n for n in files.keys() | present.keys() if files.get(n) != present.get(n))
    for name in differ:
        print(f"{'differs' if name in files else 'left over'}: {name}")
    if arguments.check:
        return 1 if differ else 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in differ:
        if name in files:
            (arguments.out / name).write_bytes(files[name])
        else:
            (arguments.out / name).unlink()
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes in {arguments.out.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
