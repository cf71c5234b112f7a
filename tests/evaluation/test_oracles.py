"""Every metric of a real clip against what FFmpeg's and libvmaf's own filters say of the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvc.evaluation.planes import Picture
from lvc.media import ffmpeg
from scripts.figures import eval_oracles


@pytest.mark.slow
@pytest.mark.skipif(ffmpeg.why_not("filter", "libvmaf") is not None, reason=str(ffmpeg.why_not("filter", "libvmaf")))
def test_every_metric_agrees_with_its_oracle(clips: Path, tmp_path: Path) -> None:
    seen = eval_oracles.compared(clips / "bikes.mp4", 30, 4, tmp_path)
    # what is printed has six decimals; MS-SSIM is defined differently there, see the script
    assert max(seen[f"PSNR-{plane}"] for plane in "YUV") < 1e-6
    assert max(seen["SSIM-Y"], seen["SSIM"]) < 1e-6
    assert max(seen["VMAF"], seen["VMAF-NEG"]) < 1e-6
    assert seen["MS-SSIM"] < 0.002
    assert seen["MS-SSIM 9/7"] < 1e-4


def test_what_is_missing_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    if ffmpeg.executable():
        assert ffmpeg.why_not("filter", "scale") is None
        assert "was built without libnonsense" in str(ffmpeg.why_not("encoder", "libnonsense"))
    monkeypatch.setattr(ffmpeg, "executable", lambda: None)
    assert "pip install 'lvc[eval]'" in str(ffmpeg.why_not("encoder", "libvvenc"))


@pytest.mark.skipif(ffmpeg.executable() is None, reason=f"no static FFmpeg: {ffmpeg.EXTRA}")
def test_a_program_that_fails_is_an_error_with_its_last_word(tmp_path: Path, small: Picture) -> None:
    from lvc.errors import MediaError

    with pytest.raises(MediaError, match="FFmpeg failed: .*nonsense"):
        with ffmpeg.Fed([*ffmpeg.raw_input(32, 32, "25", "-"), "-c:v", "nonsense", "out.mkv"], tmp_path) as fed:
            fed.write(small)
    with pytest.raises(ZeroDivisionError):  # an error of the caller's goes through, and nothing waits for more pictures
        with ffmpeg.Fed([*ffmpeg.raw_input(32, 32, "25", "-"), "-f", "null", "-"], tmp_path):
            raise ZeroDivisionError


@pytest.fixture
def small() -> Picture:
    import numpy as np

    return Picture(*(np.zeros(shape, np.uint8) for shape in ((32, 32), (16, 16), (16, 16))))
