"""Reading takes no torch: with an import of it that raises, the commands and functions of a decoder work."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VECTORS = ROOT / "formats" / "vectors"
HOOK = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise AssertionError("torch is imported")

sys.meta_path.insert(0, NoTorch())
"""
MAIN = "from lvc.cli import main; main()"


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-P", "-c", HOOK + code, *arguments], cwd=cwd, env=env, capture_output=True, text=True
    )  # fmt: skip


def test_the_hook_works(tmp_path: Path) -> None:
    assert "torch is imported" in python("import torch.nn", cwd=tmp_path).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("--version",),
        ("info", "-v", str(VECTORS / "good-everything.lvz")),
        ("info", "--json", str(VECTORS / "good-everything.lvz")),
        ("verify", str(VECTORS / "good-everything.lvz")),
        ("verify", "--full", str(VECTORS / "good-tensors.lvz")),
        ("verify", "--full", str(VECTORS / "good-tensors-exact.lvz")),
        ("unpack", "--json", str(VECTORS / "good-tensors-exact.lvz"), "out"),
        ("unpack", "--json", str(VECTORS / "good-tensors.lvz"), "out.npz"),
    ],
    ids=["version", "info", "json", "verify", "full", "exact", "unpack", "npz"],
)
def test_commands(command: tuple[str, ...], tmp_path: Path) -> None:
    done = python(MAIN, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_a_video_there_and_back(carphone: Path, tmp_path: Path) -> None:
    for command in (("encode", str(carphone), "a.lvz", "--duration", "0.5"), ("verify", "--full", "a.lvz")):
        done = python(MAIN, *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for command in (
        ("decode", "a.lvz", "a.mkv", "--every", "2"),
        ("unpack", "a.lvz", "a.npz", "--intra"),
        ("decode", "a.lvz", "b.mkv", "--latents", "a.npz"),
    ):
        done = python(MAIN, *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


NEEDLESS = "av", "lvc.cli.encode", "lvc.cli.search", "lvc.files.encode", "lvc.media.reader", "lvc.media.writer"
LOADED = f"""
import atexit
atexit.register(lambda: print("loaded:", sorted(sys.modules.keys() & set({NEEDLESS})), file=sys.stderr))
"""


@pytest.mark.slow
def test_raw_pictures_load_neither_ffmpeg_nor_what_encodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start of a command is its imports: half a second, when all of them are made."""
    monkeypatch.setenv("LVC_MODELS", str(VECTORS))
    vector = str(VECTORS / "good-rans-video.lvz")
    done = python(LOADED + MAIN, "decode", vector, "a.y4m", cwd=tmp_path)
    assert done.returncode == 0 and "loaded: []" in done.stderr, done.stderr
    done = python(LOADED + MAIN, "decode", vector, "a.mkv", cwd=tmp_path)
    assert done.returncode == 0 and "loaded: ['av', 'lvc.media.writer']" in done.stderr, done.stderr


OPEN = """
import lvc
with lvc.open(sys.argv[1]) as video:
    assert video.duration > 0
print(lvc.info_file(sys.argv[1]).fields())
import lvc.latents.file, lvc.latents.frames, lvc.latents.sources, lvc.latents.unpack
print(lvc.latents.sources.find([sys.argv[2]], None, print))
"""


@pytest.mark.slow
def test_an_opened_file(tmp_path: Path) -> None:
    tensors = ROOT / "tests" / "latents" / "cases" / "latents_musubi_wan_i2v.safetensors"
    done = python(OPEN, str(VECTORS / "good-everything.lvz"), str(tensors), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_search(carphone: Path, tmp_path: Path) -> None:
    shutil.copy2(carphone, tmp_path)
    for command in (("index", "."), ("query", "carphone_pristine.mp4@1-2"), ("duplicates",)):
        done = python(MAIN, "search", *command, "--db", "db", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
