"""What both directions need: where to write, whom to blame, which model."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from lvc.errors import UnsupportedError, UsageError
from lvc.latents.foreign import is_foreign, load_foreign
from lvc.lvz import CopiedStream, LvzReader
from lvc.lvz.follow import FollowedFile
from lvc.media import CopiedPacket
from lvc.output import STDOUT, STREAM, about, binary_stdout, opened_input, publish
from lvc.remote.addresses import is_address

if TYPE_CHECKING:
    from lvc.latents.video import ForeignModel
    from lvc.models import Model

Progress = Callable[[int, int, int, int | None], object]
"""Called with frames done, bytes in, bytes out and the expected number of frames (None: unknown)."""
Notice = Callable[[str], object]
PathLike = str | os.PathLike[str]
T = TypeVar("T")

RECORDS_AHEAD = 4


@contextlib.contextmanager
def destination(target: str, force: bool) -> Iterator[Path | BinaryIO]:
    """Where to write so that `target` appears at once and whole; a stream for standard output and for an address."""
    if target == STREAM:
        with about(STDOUT), binary_stdout() as stream:
            yield stream
    elif is_address(target):
        from lvc.remote.upload import upload

        with about(target), upload(target, force=force) as stream:
            yield stream
    else:
        with publish(target, force=force) as path:
            yield path


@contextlib.contextmanager
def blamed(items: Iterator[T], name: str) -> Iterator[Iterator[T]]:
    """`items`, whose errors are about the file `name` and not about the one that is written; closed in good order."""

    def labelled() -> Generator[T]:
        with about(name):
            yield from items

    with contextlib.closing(labelled()) as result:
        yield result


def size_of(path: str) -> int | None:
    """Bytes of a file on this machine; None for anything else."""
    return os.path.getsize(path) if os.path.isfile(path) else None


@contextlib.contextmanager
def opened(
    source: str, salvage: bool = False, notice: Notice | None = None, *, follow: bool = False
) -> Iterator[LvzReader]:
    """`follow`: wait at the end of a file that is still being written."""
    with cast(BinaryIO, FollowedFile(source)) if follow else opened_input(source, notice) as file:
        yield LvzReader(file, salvage=salvage)


def drained(arrived: deque[CopiedPacket]) -> Iterator[CopiedPacket]:
    while arrived:
        yield arrived.popleft()


def moment_of(packet: CopiedPacket, stream: CopiedStream) -> Fraction | None:
    """When a packet plays, in seconds."""
    ticks = packet.dts if packet.pts is None else packet.pts
    return None if ticks is None else ticks * stream.seconds_per_tick


def loaded(model: str | Model | None, device: str | None) -> Model:
    """The model itself; a name is loaded (None: the default)."""
    from lvc import models

    return model if isinstance(model, models.Model) else models.load_model(model)


def codec_of(model: Model | ForeignModel) -> Any:
    """`lvc.codec`, or what stands in for it with somebody else's VAE."""
    from lvc import codec

    if hasattr(model, "adapter"):
        from lvc.latents import video

        return video
    return codec


def _foreign_model(reader: LvzReader, name: object, device: str | None) -> ForeignModel:
    header = reader.header
    if not is_foreign(name):
        kind = header.model_id.partition(":")[0]
        raise UnsupportedError(f"was made with {header.model_id} — give its path: --model {kind}:PATH")
    from lvc.latents.video import opened_model

    adapter = load_foreign(name, device)
    if adapter.sha256 != header.model_sha256:
        raise UnsupportedError(f"was made with other weights of {header.model_id} than {name} — give the right ones")
    return opened_model(adapter, reader.video, reader.tensors)


def _model_inside(reader: LvzReader) -> Model:
    """The model that the file itself holds, whole or as a delta to one that is here."""
    from lvc import models
    from lvc.entropy.model_file import model_file
    from lvc.models.load import model_of_bytes

    chunk, header = reader.model_chunk, reader.header
    assert chunk is not None
    base = None
    if chunk.base_sha256:
        base = models.find_model(header.model_id, chunk.base_sha256).read_bytes()
    return model_of_bytes(model_file(chunk, header.model_sha256, base), header.model_id)


def model_of(reader: LvzReader, name: str | Model | None, device: str | None) -> Model:
    """The model that a file was made with: the one named, which has to match, or the one that is found."""
    from lvc import models

    header = reader.header
    if header.model_id == "latents":
        raise UsageError("contains packed latents, not a video — use lvc unpack")
    if is_foreign(header.model_id):
        return cast("Model", _foreign_model(reader, name, device))  # it stands in for one
    if name is None and reader.model_chunk is not None:
        return _model_inside(reader)
    if name is None:
        return models.load_model(models.find_model(header.model_id, header.model_sha256))
    model = loaded(name, device)
    if model.sha256 != header.model_sha256:
        raise UnsupportedError(f"was made with the model {header.model_id}, not with {model.id} — give the right one")
    return model
