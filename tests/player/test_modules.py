"""The player's modules under Node's own test runner, and its compiled engine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.player_site import digests

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "packages" / "lvz-player"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_modules(tmp_path: Path, carphone_lvz: Path, decoder_file: tuple[str, bytes]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: apt-get install nodejs")
    (tmp_path / "model").write_bytes(decoder_file[1])
    (tmp_path / "digests").write_text("\n".join(digests(carphone_lvz)))
    own = {"LVZ_FILM": carphone_lvz, "LVZ_MODEL": tmp_path / "model", "LVZ_DIGESTS": tmp_path / "digests"}
    done = subprocess.run(
        [node, "--test", "test/"], cwd=PACKAGE, capture_output=True, text=True,
        env=os.environ | {name: str(path) for name, path in own.items()},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "# fail 0" in done.stdout and "# skipped 0" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_engine_is_what_its_sources_make(tmp_path: Path) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("no compiler: pip install ziglang")
    subprocess.run([sys.executable, str(ROOT / "scripts" / "build_player"), str(tmp_path)], check=True)
    for path in tmp_path.glob("*.wasm"):
        kept = PACKAGE / "src" / path.name
        assert path.read_bytes() == kept.read_bytes(), f"{kept} is older than its sources — run scripts/build_player"
        assert path.stat().st_size < 300_000
    assert len(list(tmp_path.glob("*.wasm"))) == 4
