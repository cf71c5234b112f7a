"""`lvc unpack` and `lvc decode --latents` on a video of lvc's own codec: out, changed, and back."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import lvc
from lvc import MediaError, UnsupportedError, UsageError, decode_file, encode_file
from lvc.latents import unpack_latents
from lvc.media import CopiedPacket, Frame, MediaReader
from lvc.output import subject
from tests.helpers.clips import Audio, Clip
from tests.helpers.command import Lvc, names
from tests.helpers.small_models import model_file

TIMES = [0, 2, 3, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22]
"""Not regular; a new group begins at 0 and at 10, the tenth of a second."""


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames at irregular times, with sound, of 94x70: no multiple of 16."""
    folder = tmp_path_factory.mktemp("own")
    clip = Clip((94, 70), 20, container="matroska", pts=TIMES, audio=[Audio("flac")])
    clip.write(folder / "a.mkv")
    done = Lvc(["-m", "lvc"], folder)("encode", "a.mkv", "a.lvz", "--gop", "0.4", "--quality", "40")
    assert done.code == 0, done.err
    return folder / "a.lvz"


@pytest.fixture(scope="module")
def arrays(coded: Path) -> dict[str, np.ndarray]:
    done = Lvc(["-m", "lvc"], coded.parent)("unpack", "a.lvz", "--intra")
    assert done.code == 0, done.err
    found: dict[str, np.ndarray] = load_file(coded.parent / "a.safetensors")
    return found


def second_group(arrays: dict[str, np.ndarray]) -> int:
    """The first frame of the second group of clips."""
    return int(np.flatnonzero(arrays["key"])[1])


def content(path: Path) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    """Times and samples of frames, and packets of sound."""
    with MediaReader(path) as video:
        items = list(video)
    frames = [(f.pts, f.y.tobytes() + f.u.tobytes() + f.v.tobytes()) for f in items if isinstance(f, Frame)]
    return frames, [p.data for p in items if isinstance(p, CopiedPacket)]


def decoded(folder: Path, coded: Path, latents: str | None = None) -> tuple[list[tuple[int, bytes]], list[bytes]]:
    """In this process."""
    decode_file(coded, folder / "out.mkv", codec="ffv1", force=True, latents=latents and folder / latents)
    return content(folder / "out.mkv")


@pytest.mark.slow
def test_both_kinds_hold_the_same(lvc: Lvc, coded: Path, arrays: dict[str, np.ndarray]) -> None:
    done = lvc("unpack", coded, "x.npz", "--intra")
    assert done.code == 0 and "20 frames in 27 arrays" in done.err
    with np.load(lvc.folder / "x.npz") as other:
        assert set(other) == set(arrays)
        for name, array in arrays.items():
            assert other[name].dtype == array.dtype and (other[name] == array).all(), name
    assert names(lvc.folder) == ["x.npz"], "nothing is left over"


@pytest.mark.slow
def test_what_the_arrays_say(coded: Path, arrays: dict[str, np.ndarray]) -> None:
    assert arrays["size"].tolist() == [70, 94, 80, 96]
    assert arrays["frame"].tolist() == list(range(20))
    assert arrays["time"] == pytest.approx(np.array(TIMES) / 25)
    keys, groups = arrays["key_frame"], np.flatnonzero(arrays["key"])
    assert set(groups) < set(keys) and len(groups) >= 2, "an anchor is coded without references, too"
    assert sorted([*keys, *arrays["residual_frame"]]) == list(range(20))
    assert (arrays["references"][keys] == -1).all() and not arrays["level"][keys].any()
    predicted = arrays["residual_frame"]
    assert (arrays["references"][predicted, 0] >= 0).all()
    assert arrays["key_value"].shape[2:] == arrays["residual_value"].shape[2:] == (5, 6)
    assert arrays["residual_mode"].shape[1:] == (10, 12)
    assert arrays["residual_vectors"].shape[1:] == (2, 2, 10, 12)
    assert arrays["intra_value"].shape == (20, *arrays["key_value"].shape[1:])
    assert arrays["model_sha256"].tobytes() == lvc.load_model().sha256


@pytest.mark.slow
def test_a_part_is_whole_groups(lvc: Lvc, coded: Path, arrays: dict[str, np.ndarray]) -> None:
    second = second_group(arrays)
    start = float(arrays["time"][second]) + 0.05
    done = lvc("unpack", coded, "x.safetensors", "--start", start, "--json")
    assert done.code == 0 and done.events[-1]["frames"] == 20 - second
    part = load_file(lvc.folder / "x.safetensors")
    assert part["frame"].tolist() == list(range(second, 20)) and part["time"][0] == arrays["time"][second]
    assert (part["key_value"] == arrays["key_value"][arrays["key_frame"] >= second]).all() and "intra_value" not in part


@pytest.mark.slow
def test_unchanged_there_and_back(tmp_path: Path, coded: Path, arrays: dict[str, np.ndarray]) -> None:
    plain = decoded(tmp_path, coded)
    assert len(plain[0]) == 20 and plain[1]
    save_file(arrays, tmp_path / "x.safetensors")
    np.savez(tmp_path / "x.npz", **arrays)
    for name in ("x.safetensors", "x.npz"):
        assert decoded(tmp_path, coded, name) == plain
    done = Lvc(["-m", "lvc"], tmp_path)("decode", coded, "cli.mkv", "--codec", "ffv1", "--latents", "x.npz")
    assert done.code == 0 and content(tmp_path / "cli.mkv") == plain, done.err
    save_file({k: arrays[k] for k in ("key_frame", "key_value")}, tmp_path / "part.safetensors")
    assert decoded(tmp_path, coded, "part.safetensors") == plain
    assert names(tmp_path) == ["cli.mkv", "out.mkv", "part.safetensors", "x.npz", "x.safetensors"]


@pytest.mark.slow
def test_a_changed_group_is_another_picture_and_nothing_else(
    tmp_path: Path, coded: Path, arrays: dict[str, np.ndarray]
) -> None:
    plain = decoded(tmp_path, coded)
    second = second_group(arrays)
    values = arrays["key_value"].astype(np.float32)
    values[arrays["key_frame"] >= second] *= 0.5
    save_file({"key_frame": arrays["key_frame"], "key_value": values}, tmp_path / "x.safetensors")
    changed = decoded(tmp_path, coded, "x.safetensors")
    assert changed[1] == plain[1] and [t for t, _ in changed[0]] == [t for t, _ in plain[0]], "sound and times"
    same = [a == b for a, b in zip(plain[0], changed[0], strict=True)]
    assert all(same[:second]) and not any(same[second:])


@pytest.mark.slow
def test_symbols_may_be_changed_as_well(tmp_path: Path, coded: Path, arrays: dict[str, np.ndarray]) -> None:
    plain = decoded(tmp_path, coded)
    symbols = arrays["residual_latent"].copy()
    symbols[-1] = 0
    skip, copy = arrays["residual_skip"].copy(), arrays["residual_copy"].copy()
    skip[-1] = copy[-1] = 1
    changed = {"residual_frame": arrays["residual_frame"], "residual_latent": symbols, "residual_skip": skip}
    save_file(changed | {"residual_copy": copy}, tmp_path / "x.safetensors")
    after = decoded(tmp_path, coded, "x.safetensors")
    second = second_group(arrays)
    assert after[0][:second] == plain[0][:second] and after[0][-1] != plain[0][-1]


def wrong(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Arrays with one fault each."""
    some = {n: a.copy() for n, a in arrays.items()}
    if name == "shape":
        some["key_value"] = some["key_value"][:, :, :, :-1]
    elif name == "rows":
        some["residual_value"] = some["residual_value"][:-1]
    elif name == "frames":
        some["key_frame"][1] = 99
    elif name == "twice":
        some["key_frame"][1] = 0
    elif name == "kind":
        some = {"key_frame": np.array([1]), "key_value": some["key_value"][:1]}
    elif name == "model":
        some["model_sha256"][0] ^= 1
    elif name == "mode":
        some["residual_mode"][0] = 3
    elif name == "vectors":
        some["residual_vectors"][0] = 5000
    elif name == "copy":
        some["residual_copy"][:], some["residual_skip"][:] = 1, 0
    elif name == "nan":
        some["key_value"] = np.full(some["key_value"].shape, np.nan, np.float32)
    elif name == "range":
        some["key_latent"] = some["key_latent"].astype(np.int64) + 70000
    elif name == "float":
        some["key_latent"] = some["key_latent"].astype(np.float32)
    elif name == "both":
        some["key_latent"][0, 0, 0, 0] += 1
        some["key_value"][0, 0, 0, 0] += 40
    elif name == "unnamed":
        del some["residual_frame"]
    elif name == "nothing":
        some = {"other": np.zeros(3)}
    return some


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("shape", "key_value (has the shape|is int16)"), ("rows", "residual_value has the shape"),
        ("frames", "frame 99"),
        ("twice", "twice"), ("kind", "frame 1"), ("model", "another model"), ("mode", "residual_mode of frame"),
        ("vectors", "residual_vectors of frame"), ("copy", "residual_copy of frame"), ("nan", "not finite"),
        ("range", "key_latent .*int16"), ("float", "key_latent is float32"), ("both", "change one of them"),
        ("unnamed", "without residual_frame"), ("nothing", "none of the arrays"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    tmp_path: Path, coded: Path, arrays: dict[str, np.ndarray], fault: str, said: str
) -> None:
    some = {n: np.ascontiguousarray(a) for n, a in wrong(arrays, fault).items()}
    np.savez(tmp_path / "x.npz", **some)
    save_file(some, tmp_path / "x.safetensors")
    for name in ("x.npz", "x.safetensors"):
        with pytest.raises(MediaError, match=said) as error:
            decode_file(coded, tmp_path / "out.mkv", latents=tmp_path / name)
        assert subject(error.value) == str(tmp_path / name) and error.value.exit_code == 3
    assert names(tmp_path) == ["x.npz", "x.safetensors"]


def bomb(path: Path) -> None:
    """An array that is far larger than it says, and one that says more than any disk has."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (1 << 60,)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("key_frame.npy", header.getvalue() + bytes(1 << 20))


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b'\x08\0\0\0\0\0\0\0{"a":1}x', b"x" * 100])
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files_of_nonsense(tmp_path: Path, coded: Path, content: bytes, ending: str) -> None:
    (tmp_path / f"x.{ending}").write_bytes(content)
    with pytest.raises(MediaError, match=f"is not a .{ending}|is not a safetensors|has none of the arrays"):
        decode_file(coded, tmp_path / "out.mkv", latents=tmp_path / f"x.{ending}")
    assert names(tmp_path) == [f"x.{ending}"]


@pytest.mark.slow
def test_a_zip_bomb_and_pickles(tmp_path: Path, coded: Path) -> None:
    bomb(tmp_path / "bomb.npz")
    with pytest.raises(MediaError, match="key_frame takes"):
        decode_file(coded, tmp_path / "out.mkv", latents=tmp_path / "bomb.npz")
    np.savez(tmp_path / "objects.npz", key_frame=np.array([{}], dtype=object))
    with pytest.raises(MediaError, match="key_frame is object"):
        decode_file(coded, tmp_path / "out.mkv", latents=tmp_path / "objects.npz")


@pytest.mark.slow
def test_calls_that_make_no_sense(lvc: Lvc, coded: Path, arrays: dict[str, np.ndarray]) -> None:
    save_file({"key_frame": arrays["key_frame"] + 50}, lvc.folder / "x.safetensors")
    for code, args, said in (
        (2, ("decode", coded, "o.mkv", "--latents", "x.safetensors", "--salvage"), "--salvage"),
        (2, ("decode", coded, "--latents", "x.safetensors", "--output-dir", "."), "--latents"),
        (3, ("decode", coded, "o.mkv", "--latents", "x.safetensors"), "x.safetensors: has none of the arrays"),
        (2, ("unpack", coded, "folder"), "name OUT.safetensors"),
        (6, ("unpack", coded, "x.safetensors"), "x.safetensors"),
    ):
        done = lvc(*args)
        assert done.code == code and said in done.err, done.err
    for wrong_call in (
        lambda: decode_file(coded, lvc.folder / "o.mkv", latents="x.txt"),
        lambda: unpack_latents(coded, lvc.folder / "o.npz", names=["a"]),
        lambda: unpack_latents(coded, lvc.folder / "o.npz", start=100),
        lambda: unpack_latents(coded, lvc.folder / "o.mp4"),
    ):
        with pytest.raises(UsageError):
            wrong_call()
    assert names(lvc.folder) == ["x.safetensors"]


@pytest.mark.slow
def test_an_opened_file(coded: Path, arrays: dict[str, np.ndarray]) -> None:
    with lvc.open(coded) as video:
        frames = list(video.latents())
        assert [f.number for f in frames] == list(range(20))
        some = list(video.latents(0.25, 0.5, intra=True))
    assert [round(25 * f.time) for f in some] == [t for t in TIMES if 0.25 <= t / 25 < 0.5]
    for f in frames:
        kind, frame_of = ("key", "key_frame") if f.intra_coded else ("residual", "residual_frame")
        (row,) = np.flatnonzero(arrays[frame_of] == f.number)
        assert (f.values == arrays[f"{kind}_value"][row]).all()
        assert f.references == tuple(arrays["references"][f.number])
    assert some[0].intra is not None and (some[0].intra == arrays["intra_value"][some[0].number]).all()


@pytest.mark.slow
def test_without_the_model_there_are_integers(tmp_path: Path, coded: Path) -> None:
    model, said = model_file("lost"), list[str]()
    options = {"model": str(model), "duration": 0.4}
    encode_file(coded.parent / "a.mkv", tmp_path / "zstd.lvz", packing="zstd", **options)
    encode_file(coded.parent / "a.mkv", tmp_path / "rans.lvz", **options)
    result = unpack_latents(tmp_path / "zstd.lvz", tmp_path / "x.npz", notice=said.append)
    with np.load(tmp_path / "x.npz") as found:
        assert result.frames == len(found["frame"]) and found["key_latent"].any()
        assert "key_value" not in found and "residual_scale" not in found
    assert "'lost'" in said[0] and "integers" in said[0]
    for source, intra in (("rans.lvz", False), ("zstd.lvz", True)):
        with pytest.raises(UnsupportedError, match="'lost'"):
            unpack_latents(tmp_path / source, tmp_path / "y.npz", intra=intra)
    assert not (tmp_path / "y.npz").exists()
