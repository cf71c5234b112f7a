"""Which containers can hold a copied stream, by asking FFmpeg's muxers for a header in memory."""

from __future__ import annotations

import io
from typing import Any

from lvc.errors import CorruptError
from lvc.media.containers import CONTAINERS, ContainerFormat
from lvc.media.errors import AV_ERRORS, reason
from lvc.media.open import open_output
from lvc.media.params import codec_name, open_params
from lvc.media.types import CopiedStreamInfo

_DESCRIBED_BY_PACKETS = ("ac3", "eac3", "truehd", "mlp")  # MP4 takes their parameters from the first packet
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_HELD_BY_MOST = ("aac", "ac3", "alac", "dts", "eac3", "flac", "mp2", "mp3", "opus", "truehd", "vorbis")


def add_copy(container: Any, template: Any) -> Any:
    """Add a stream like `template`. Unnamed channel layouts get the default one, because MP4 needs a name."""
    stream = container.add_stream_from_template(template)
    if template.type == "audio" and "channels" in template.codec_context.layout.name:
        usual = _USUAL_LAYOUTS.get(template.codec_context.layout.nb_channels)
        if usual is not None:
            stream.codec_context.layout = usual
    return stream


def refusal(template: Any, form: ContainerFormat) -> str | None:
    """Why the container cannot hold the stream; `None` if it can."""
    options = {"strict": "-2"}
    if form.is_iso:  # the index of a plain MP4 is at its end, which is too late here
        needs_packet = codec_name(template) in _DESCRIBED_BY_PACKETS
        options["movflags"] = "delay_moov+frag_keyframe" if needs_packet else "empty_moov"
    try:
        with open_output(io.BytesIO(), form.muxer, options) as trial:
            add_copy(trial, template)
            trial.start_encoding()
    except (OSError, *AV_ERRORS) as error:
        return reason(error)
    return None


def holders(info: CopiedStreamInfo) -> list[str]:
    """The containers into which `decode` can copy this stream."""
    try:
        with open_params(info.params) as template:
            return [name for name, form in CONTAINERS.items() if refusal(template, form) is None]
    except CorruptError:
        return []


def way_out(info: CopiedStreamInfo) -> str | None:
    """Advice on sound that few containers can hold."""
    if info.kind != "audio" or info.codec in _HELD_BY_MOST or info.codec.startswith("pcm_s"):
        return None
    names = holders(info)
    if "mp4" in names and "mkv" in names:
        return None
    kept = f"the sound ({info.codec}) is kept bit for bit"
    if not names:
        return f"{kept}; no container that decode writes holds it: use decode --audio flac, opus or aac"
    held = " and ".join(f".{name}" for name in names)
    return f"{kept}; decode gives it back in {held}: elsewhere use --audio flac, opus or aac"
