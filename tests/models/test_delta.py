"""Deltas: found and loaded like the models they make, carried inside files, and refused when they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lvc.engine import program as p
from lvc.entropy.model_file import model_file as unpacked
from lvc.errors import CorruptError, LimitError, UnsupportedError
from lvc.files import decode_file, decode_frames, encode_file
from lvc.files.forecast import forecast
from lvc.lvz import MODEL_DELTA, LvzReader
from lvc.models import contents, find_model, inspect, load_model, resolve
from lvc.models.browser import decoder_only
from lvc.models.delta import applied, changed, write_delta
from lvc.models.store import MAX_DELTA
from lvc.options import EncodeOptions
from tests.helpers.small_footage import film
from tests.helpers.small_models import model_file


def last_layer() -> int:
    """Number of the last convolution of predicted frames."""
    layers = p.load(model_file()).programs["predicted"].layers
    return max(i for i, layer in enumerate(layers) if layer.op == p.CONV)


def some_changes() -> dict[str, np.ndarray]:
    layer = last_layer()
    outputs = p.load(model_file()).programs["predicted"].layers[layer].parts[0].bias.shape[1]
    return {f"predicted/{layer}/0/bias": (np.arange(outputs) % 41 - 20).astype(np.int16)}


def delta(folder: Path, name: str = "camera7") -> Path:
    path = folder / f"{name}.safetensors"
    write_delta(path, name, model_file().read_bytes(), some_changes(), {})
    return path


def test_a_delta_changes_what_it_says_and_nothing_else() -> None:
    last = last_layer()
    base = p.load(model_file())
    made = p.loads(changed(model_file().read_bytes(), some_changes(), "x"))
    for name, program in base.programs.items():
        for i, (a, b) in enumerate(zip(program.layers, made.programs[name].layers, strict=True)):
            for v, w in zip(a.parts, b.parts, strict=True):
                assert (v.weight == w.weight).all() and (v.shift == w.shift).all()
                assert ((v.bias == w.bias).all()) == ((name, i) != ("predicted", last))
            assert a.gain is None or (a.gain == b.gain).all()
    part, other = (m.programs["predicted"].layers[last].parts[0] for m in (base, made))
    steps = some_changes()[f"predicted/{last}/0/bias"].astype(np.int64) << np.maximum(part.shift.astype(int) - 2, 0)
    assert (other.bias - part.bias == steps).all()


def test_it_is_found_under_the_hash_of_what_it_makes(installed: Path) -> None:
    path = delta(installed)
    file = resolve("camera7")
    assert (file.path, file.name) == (path, "camera7") and path.stat().st_size < 5000
    assert find_model("another name", file.sha256) == path
    assert load_model("camera7").sha256 == load_model(path).sha256 == file.sha256
    # the file that it makes is the same model
    whole = installed.parent / "whole.safetensors"
    whole.write_bytes(contents(file))
    assert inspect(whole).sha256 == file.sha256 and inspect(whole).base is None
    assert decoder_only(path) == decoder_only(whole)


def test_a_video_needs_its_delta_and_its_base(installed: Path, tmp_path: Path) -> None:
    clip, out = film(tmp_path / "a.mkv", frames=4), tmp_path / "a.lvz"
    path = delta(tmp_path)
    encode_file(clip, out, model=path, features=False, verify=True)
    with pytest.raises(UnsupportedError, match=r"the model 'camera7' .* is not installed — put it in a folder"):
        decode_file(out, tmp_path / "a.y4m")
    assert not (tmp_path / "a.y4m").exists()
    named = [f.y for f in decode_frames(out, model=path)]
    delta(installed)
    found = [f.y for f in decode_frames(out)]
    assert len(named) == 4 and all((a == b).all() for a, b in zip(named, found, strict=True))
    with pytest.raises(UnsupportedError, match="not with small"):
        list(decode_frames(out, model="small"))
    (installed / "small.safetensors").unlink()
    with pytest.raises(
        UnsupportedError, match=r"camera7.safetensors is a delta to the model with SHA-256 [0-9a-f]{16}"
    ):
        list(decode_frames(out))


@pytest.mark.slow
def test_inside_a_video_it_is_what_makes_it_of_its_base(installed: Path, tmp_path: Path) -> None:
    clip, out, path = film(tmp_path / "a.mkv", frames=3), tmp_path / "a.lvz", delta(tmp_path)
    encode_file(clip, out, model=path, features=False, embed_model=True)
    with out.open("rb") as file:
        reader = LvzReader(file)
        chunk, header = reader.model_chunk, reader.header
    assert chunk is not None and chunk.kind == MODEL_DELTA
    assert len(chunk.data) < 12_000  # of 11 MB: the delta and the size of zstd's blocks
    assert unpacked(chunk, header.model_sha256, model_file().read_bytes()) == contents(inspect(path))
    told = forecast(str(clip), str(tmp_path / "b.lvz"), EncodeOptions(model=path, features=False, embed_model=True))
    assert told.values["bytes_out"] == pytest.approx(out.stat().st_size, abs=2)
    path.unlink()
    assert len(list(decode_frames(out))) == 3


def test_deltas_that_do_not_fit(installed: Path, tmp_path: Path) -> None:
    path, base = delta(tmp_path), model_file().read_bytes()
    good = path.read_bytes()
    with pytest.raises(LimitError, match="100000"):
        applied(good + bytes(MAX_DELTA), base, "x")
    with pytest.raises(UnsupportedError, match="another model"):
        applied(good, base[:-1], "x")
    with pytest.raises(CorruptError, match="not a delta"):
        applied(model_head(), base, "x")
    with pytest.raises(CorruptError, match="does not make"):
        applied(good[:-1] + bytes([good[-1] ^ 1]), base, "x")
    # a bias that would make a sum overflow passes as a change, and is refused as a model
    name = f"predicted/{last_layer()}/0/bias"
    far = np.full_like(some_changes()[name], 32767)
    for n in range(40):
        base = changed(base, {name: far}, f"x{n}")
    with pytest.raises(CorruptError, match="overflow"):
        p.loads(base)
    with pytest.raises(ValueError, match="too large"):
        write_delta(tmp_path / "b.safetensors", "b" * MAX_DELTA, model_file().read_bytes(), {name: far}, {})
    assert [f.name for f in tmp_path.glob("b.*")] == []


def model_head() -> bytes:
    data = json.dumps({"__metadata__": {"lvc.model": json.dumps({"name": "x"})}}).encode()
    return len(data).to_bytes(8, "little") + data
