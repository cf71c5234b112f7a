"""Display matrices."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from lvc.media.orientation import matrix_of, orientation_of
from tests.helpers.clips import Clip, Read

ALL = [(rotation, hflip) for rotation in (0, 90, 180, 270) for hflip in (False, True)]


def shown(image: np.ndarray, matrix: list[int]) -> np.ndarray:
    """What a player shows: every sample moved to where the matrix says."""
    a, b, c, d, tx, ty = (matrix[i] // 65536 for i in (0, 1, 3, 4, 6, 7))
    height, width = image.shape
    swap = a == 0
    result = np.full((width, height) if swap else (height, width), -1)
    for y in range(height):
        for x in range(width):
            # centres of samples, in doubled coordinates
            px = (a * (2 * x + 1) + c * (2 * y + 1) + 2 * tx - 1) // 2
            py = (b * (2 * x + 1) + d * (2 * y + 1) + 2 * ty - 1) // 2
            result[py, px] = image[y, x]
    return result


@pytest.mark.parametrize(("rotation", "hflip"), ALL)
def test_matrix_does_what_its_name_says(rotation: int, hflip: bool) -> None:
    image = np.arange(12).reshape(3, 4)
    matrix = matrix_of(rotation, hflip, 4, 3)
    if matrix is None:
        assert (rotation, hflip) == (0, False)
        return
    want = np.rot90(image[:, ::-1] if hflip else image, k=-rotation // 90)
    assert np.array_equal(shown(image, matrix), want)
    assert orientation_of(matrix) == (rotation, hflip, True)


def test_matrices_that_are_no_quarter_turn() -> None:
    one = 1 << 16
    assert orientation_of([0] * 9) == (0, False, False)
    rotation, hflip, exact = orientation_of(
        [int(one * 0.98), int(one * 0.2), 0, int(-one * 0.2), int(one * 0.98), 0, 0, 0, 1]
    )
    assert (rotation, hflip, exact) == (0, False, False)
    assert orientation_of([2 * one, 0, 0, 0, 2 * one, 0, 0, 0, 1]) == (0, False, True)


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize(("rotation", "hflip"), ALL)
def test_written_and_read_again(tmp_path, container: str, rotation: int, hflip: bool) -> None:  # type: ignore[no-untyped-def]
    source = Read(Clip(frames=2).bytes())
    from dataclasses import replace

    source.reader.video = replace(source.video, rotation=rotation, hflip=hflip)
    path = tmp_path / f"clip.{container}"
    source.write(path)
    again = Read(path)
    assert (again.video.rotation, again.video.hflip) == (rotation, hflip)


def test_same_sense_as_players() -> None:
    """PyAV's angle is counter-clockwise, ours clockwise."""
    data = Clip(frames=1, rotation=-90).bytes()
    assert Read(data).video.rotation == 90
    with av.open(io.BytesIO(data)) as container:
        assert next(container.decode(video=0)).rotation == -90
