"""Files to play, and the site they are served from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from lvc.files import encode_file
from lvc.models import default_model_path
from lvc.models.browser import decoder_only, player_folder
from tests.helpers.clips import Audio, Clip
from tests.helpers.player_site import Site, served

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def carphone_lvz(tmp_path_factory: pytest.TempPathFactory, carphone: Path) -> Path:
    out = tmp_path_factory.mktemp("player") / "carphone.lvz"
    encode_file(str(carphone), str(out), effort=0, gop=2.0)
    return out


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds with Opus sound and subtitles; the tone is there from the beginning to the end. Its sides are no
    multiples of 16, and its samples no squares."""
    folder = tmp_path_factory.mktemp("film")
    clip = Clip(
        size=(150, 90), frames=100, container="matroska", sar=Fraction(4, 3), colour=(1, 1, 1, 1),
        audio=[Audio("libopus", seconds=4.0)], subtitles=[(0.5, 1.5, "A line"), (2.0, 3.0, "Another <i>line</i>")],
    )  # fmt: skip
    clip.write(folder / "film.mkv")
    encode_file(str(folder / "film.mkv"), str(folder / "film.lvz"), effort=0, gop=1.0, quality=30)
    return folder / "film.lvz"


@pytest.fixture(scope="session")
def ten_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep")
    clip = Clip(size=(150, 90), frames=12, codec="ffv1", container="matroska", pix_fmt="yuv420p10le")
    clip.write(folder / "ten.mkv")
    encode_file(str(folder / "ten.mkv"), str(folder / "ten.lvz"), effort=0)
    return folder / "ten.lvz"


@pytest.fixture(scope="session")
def decoder_file() -> tuple[str, bytes]:
    """The shipped model as pages get it: its address' end, and its bytes."""
    path = default_model_path()
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()}.decoder", decoder_only(path)


@pytest.fixture
def site(decoder_file: tuple[str, bytes]) -> Iterator[Site]:
    name, data = decoder_file
    pages = {f"/{page.name}": page for page in (HERE / "pages").iterdir()}
    with served(Site({f"/models/{name}": data, **pages}, {"/player/": player_folder()})) as running:
        yield running
