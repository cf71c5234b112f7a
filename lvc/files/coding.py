"""What codes frames: lvc's own codec with one of its models, or a model with continuous latents. Which of them, and its
model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lvc.errors import UnsupportedError, UsageError
from lvc.latents.foreign import is_continuous, is_foreign, load_continuous
from lvc.lvz import PACKING_NAMES, Clip, LvzReader, ModelChunk, TensorSet, VideoDescriptor
from lvc.media import Frame, VideoFormat

if TYPE_CHECKING:
    from lvc.codec import Change, EncodedClip, EncodeSettings
    from lvc.codec.frames import FrameEncoder
    from lvc.latents.video import ContinuousModel
    from lvc.models import Model
    from lvc.models.adapters import Adapter

Wanted = Callable[[int, int], bool]
"""Returns whether a frame is wanted, from its number and pts."""


class VideoModel(Protocol):
    """A codec with its model. `tensors`: what the file has to say of continuous latents."""

    @property
    def id(self) -> str: ...
    @property
    def sha256(self) -> bytes: ...
    @property
    def tensors(self) -> TensorSet | None: ...
    @property
    def path(self) -> Path | None:
        """The model's file, if lvc train made it and no video's file carried it."""

    def described(self, video: VideoFormat, settings: EncodeSettings) -> VideoDescriptor:
        """Return the file's description of the video."""

    def encode(self, frames: Iterable[Frame], video: VideoFormat, settings: EncodeSettings) -> Iterator[EncodedClip]:
        """Encode frames of one size, in order of `pts`, to clips."""

    def decode(
        self, clips: Iterable[Clip], video: VideoDescriptor, threads: int | None = None, wanted: Wanted | None = None
    ) -> Iterator[Frame]:
        """Decode clips, in order and from a key clip on, to the frames that are `wanted`. Raises `CorruptError`."""


@dataclass(frozen=True)
class OwnModel:
    """lvc's own codec with a model for it. `inside`: what a file carries to be decoded without the model's own.
    `encoder_of`: who looks on while frames are coded (`lvc.codec.encode`)."""

    model: Model
    inside: ModelChunk | None = None
    encoder_of: Callable[..., FrameEncoder] | None = None
    tensors: None = None

    @property
    def id(self) -> str:
        return self.model.id

    @property
    def sha256(self) -> bytes:
        return self.model.sha256

    @property
    def path(self) -> Path | None:
        return self.model.path

    def described(self, video: VideoFormat, settings: EncodeSettings) -> VideoDescriptor:
        packing = {name: number for number, name in PACKING_NAMES.items()}[settings.packing]
        return VideoDescriptor(
            **vars(video), planes=self.model.planes, packing=packing, gop_seconds=settings.gop, checks=True
        )

    def encode(self, frames: Iterable[Frame], video: VideoFormat, settings: EncodeSettings) -> Iterator[EncodedClip]:
        from lvc import codec

        given = {} if self.encoder_of is None else {"encoder_of": self.encoder_of}
        return codec.encode(frames, video, self.model, settings, **given)

    def decode(
        self, clips: Iterable[Clip], video: VideoDescriptor, threads: int | None = None, wanted: Wanted | None = None
    ) -> Iterator[Frame]:
        from lvc import codec

        return codec.decode(clips, video, self.model, threads=threads, wanted=wanted)

    def decode_changed(
        self,
        clips: Iterable[Clip],
        video: VideoDescriptor,
        change: Change,
        threads: int | None = None,
        wanted: Wanted | None = None,
    ) -> Iterator[Frame]:
        """As `decode`, after `change` has edited the latents of each frame."""
        from lvc import codec

        return codec.decode_changed(clips, video, self.model, change, threads=threads, wanted=wanted)


def loaded(model: str | os.PathLike[str] | Model | None) -> Model:
    """Return a loaded model; a name is loaded, None loads the default."""
    from lvc import models

    return model if isinstance(model, models.Model) else models.load_model(model)


def model_of(reader: LvzReader, name: str | os.PathLike[str] | Model | None, device: str | None) -> VideoModel:
    """Return the model that a file was made with: the one named, which must match, or the one found by its hash."""
    from lvc import models

    header = reader.header
    if header.model_id == "latents":
        raise UsageError("contains packed latents, not a video — use lvc unpack")
    if reader.tensors is not None or is_foreign(header.model_id):
        return _continuous_model(reader, name, device)
    if name is None:
        return OwnModel(models.model_of_file(header, reader.model_chunk))
    model = loaded(name)
    if model.sha256 != header.model_sha256:
        raise UnsupportedError(f"was made with the model {header.model_id}, not with {model.id} — give the right one")
    return OwnModel(model)


def _continuous_model(reader: LvzReader, name: object, device: str | None) -> ContinuousModel:
    header = reader.header
    if is_foreign(header.model_id) and not is_foreign(name):
        kind = header.model_id.partition(":")[0]
        raise UnsupportedError(f"was made with {header.model_id} — give its path: --model {kind}:PATH")
    from lvc.latents.video import opened_model

    if name is None:
        adapter = _trained_of_file(reader, device)
    elif is_continuous(name):
        adapter = load_continuous(name, device)
        if adapter.sha256 != header.model_sha256:
            raise UnsupportedError(
                f"was made with other weights of {header.model_id} than {name} — give the right ones"
            )
    else:
        raise UnsupportedError(f"was made with the model {header.model_id} — give the right one")
    return opened_model(adapter, reader.video, reader.tensors)


def _trained_of_file(reader: LvzReader, device: str | None) -> Adapter:
    """The auto-encoder that a file was made with: inside it, or here."""
    from lvc.models.adapters.trained import load_trained, trained_of_bytes
    from lvc.models.inside import bytes_of_file
    from lvc.models.store import find_model

    header, chunk = reader.header, reader.model_chunk
    if chunk is None:
        return load_trained(find_model(header.model_id, header.model_sha256), device)
    return trained_of_bytes(bytes_of_file(header, chunk), "the model in the file", device)
