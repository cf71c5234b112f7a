"""docs/python.md: its programs run, its names are the public ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import lvc

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_programs_run(tmp_path: Path, bunny: Path) -> None:
    lvc.encode_file(bunny, tmp_path / "holiday.lvz", resolution="160x90", fps="10", duration=3)
    lvc.decode_file(tmp_path / "holiday.lvz", tmp_path / "holiday.mp4")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(90, 160, 3) uint8") == 10 and done.stdout.count("(90, 160)\n") == 5
    assert done.stdout.count("torch.Size([2, 3, 90, 160])") == 2


def test_every_public_name_is_there() -> None:
    table = TEXT.split("| name | |")[1]
    assert set(re.findall(r"`(\w+)`", table.split("\n\n")[0])) == set(lvc._PUBLIC)
    assert {*lvc.__all__, "open"} == {*lvc._PUBLIC, "__version__"}
    for name in lvc._PUBLIC:
        assert getattr(lvc, name) is not None
    names: dict[str, object] = {}
    exec("from lvc import *", names)
    assert "open" not in names and names["Video"] is lvc.Video
