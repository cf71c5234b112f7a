"""One file into another: the public functions, and what they and the command line call."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

from lvc.errors import UsageError
from lvc.files.common import Notice, PathLike, Progress
from lvc.files.decode import decode_video
from lvc.files.encode import encode_once
from lvc.files.sized import encode_to_size
from lvc.files.vmaf import encode_to_vmaf
from lvc.lvz import Origin
from lvc.options import DecodeOptions, EncodeOptions
from lvc.results import DecodeResult, EncodeResult

if TYPE_CHECKING:
    from lvc.models import Model

_TARGETS = {
    "target_bitrate": "a bit rate", "target_psnr": "a PSNR", "target_size": "a size", "target_vmaf": "a VMAF",
}  # fmt: skip


def encode_file(
    source: PathLike,
    target: PathLike,
    *,
    model: str | os.PathLike[str] | Model | None = None,
    quality: float = 50.0,
    gop: float = 10.0,
    packing: str = "rans",
    effort: int = 4,
    tune: str = "psnr",
    features: bool = True,
    threads: int | None = None,
    device: str | None = None,
    target_bitrate: float | None = None,
    target_psnr: float | None = None,
    target_size: float | None = None,
    target_vmaf: float | None = None,
    max_bitrate: float | None = None,
    buffer: float = 2.0,
    bit_depth: int | None = None,
    audio: str = "copy",
    subtitles: str = "copy",
    resolution: str | None = None,
    fps: str | float | Fraction | None = None,
    start: float | None = None,
    duration: float | None = None,
    close_gaps: bool = False,
    allow_playlists: bool = False,
    verify: bool = False,
    embed_model: bool = False,
    strict: bool = False,
    max_memory: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """Compress a video file to a `.lvz`.

    Args:
        source: A video: a path, an address (`https://…`, `s3://…`, whatever FFmpeg opens), or `-` for standard input.
        target: The `.lvz`: a path, an address, or `-` for standard output.
        model: A loaded model, a path, a name, or somebody else's VAE (`taesd:PATH`, `diffusers:FOLDER`). None takes
            lvc's own.
        quality: 0 to 100; higher is better, and larger.
        gop: Seconds between key frames, at most. A decoder can start that often.
        packing: How integers become bytes: `rans`, or `zstd`, which is larger.
        effort: 0 to 9; more searches longer for fewer bits.
        tune: What bits are spent on: `psnr`, or `ssim` for MS-SSIM, with the model made for it if one is installed.
        features: Keep what `lvc search` wants to know, under 1 kbit/s.
        threads: Cores to use. None takes all.
        device: Where torch runs somebody else's VAE, as `cuda`. lvc's own codec runs on the CPU.
        target_bitrate: Bits of video a second, in place of a quality.
        target_psnr: Mean PSNR of planes 6:1:1 in dB, in place of a quality.
        target_size: Bytes that the file has at most, found by encoding two to six times.
        target_vmaf: Mean VMAF, found by trying. Needs `lvc[eval]`.
        max_bitrate: Bits of video a second that no stretch passes by more than `buffer` seconds' worth.
        buffer: Seconds; a receiver at `max_bitrate` that waits for so long never waits again.
        bit_depth: 8 or 10 bits a sample. None keeps what the source has, up to 10.
        audio: `copy` bit for bit, `none`, or a codec: `opus:48k`, `flac`.
        subtitles: `copy` or `none`.
        resolution: Scale the video first: `1280x720`, `720p`, `x480`.
        fps: Change the frame rate first, in frames per second: 25, `30000/1001`.
        start: Seconds from the first frame to begin at.
        duration: Seconds to take.
        close_gaps: Take jumps of the times by more than 5 s out, as of joined recordings.
        allow_playlists: The source may be a playlist (HLS, DASH, concat), which names other files.
        verify: Decode what was written before it is published.
        embed_model: Put the model's file into the output, which then decodes wherever lvc is.
        strict: What would be lost of the source is a `LossError` and no notice.
        max_memory: Bytes that pictures may take. None allows what the machine has.
        force: Replace an existing `.lvz`.
        progress: Called with frames done, bytes in, bytes out and the expected number of frames (None: unknown).
        notice: Called with each line about what was lost or odd.

    Returns:
        Sizes, frames, times and what was reached.

    Raises:
        UsageError: An argument is out of its range, or two exclude each other.
        MediaError: The source cannot be read, or holds no video.
        OutputExistsError: The target exists, without `force` or as something that is no `.lvz`.
        UnsupportedError: The model is not here, or `lvc[eval]` is missing for a VMAF.
        LimitError: Pictures are larger than memory or the format allow.
        LossError: With `strict`, something would be lost.
        CorruptError: With `verify`, what was written does not decode to what went in.
        OSError: The disk or the network failed.

    Whatever is raised, nothing is left behind.
    """
    options = EncodeOptions(
        model=model, quality=quality, gop=gop, packing=packing, effort=effort, tune=tune, features=features,
        threads=threads, device=device, target_bitrate=target_bitrate, target_psnr=target_psnr,
        target_size=target_size, target_vmaf=target_vmaf, max_bitrate=max_bitrate, buffer=buffer, bit_depth=bit_depth,
        audio=audio, subtitles=subtitles, resolution=resolution, fps=fps, start=start, duration=duration,
        close_gaps=close_gaps, allow_playlists=allow_playlists, verify=verify, embed_model=embed_model, strict=strict,
        max_memory=max_memory,
    )  # fmt: skip
    return encode_video(
        os.fspath(source), os.fspath(target), options, force=force, progress=progress, notice=notice
    )  # fmt: skip


def encode_video(
    source: str,
    target: str,
    options: EncodeOptions,
    *,
    force: bool = False,
    origin: Origin | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """What `encode_file` does. `origin` is kept in the file."""
    given = [text for name, text in _TARGETS.items() if getattr(options, name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be combined — give one of them")
    one = encode_once
    if options.target_size is not None:
        one = encode_to_size
    elif options.target_vmaf is not None:
        one = encode_to_vmaf
    return one(source, target, options, force=force, origin=origin, progress=progress, notice=notice)


def decode_file(
    source: PathLike,
    target: PathLike,
    *,
    start: float | None = None,
    end: float | None = None,
    every: int = 1,
    codec: str | None = None,
    crf: float | None = None,
    container: str | None = None,
    audio: str = "copy",
    salvage: bool = False,
    follow: bool = False,
    model: str | os.PathLike[str] | Model | None = None,
    latents: PathLike | None = None,
    threads: int | None = None,
    device: str | None = None,
    strict: bool = False,
    max_memory: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> DecodeResult:
    """Decompress a `.lvz` to a video file. Of a range, only the groups of clips that it touches are read.

    Args:
        source: The `.lvz`: a path, an address, or `-` for standard input.
        target: The video: a path, an address, or `-` for standard output (Y4M, if `container` does not say otherwise).
        start: Seconds from the first frame to begin at; the output begins at 0.
        end: Seconds from the first frame to stop before.
        every: Take frames 0, n, 2n … alone, each shown until the next; a power of 2 is decoded that much faster.
        codec: What the output is coded with: `h264`, `hevc`, `av1`, or `ffv1`, which loses nothing. None takes `h264`
            for 8 bits a sample and `hevc` for 10; `av1` for `webm`.
        crf: Its quality, 0 to 63; lower is better, and larger. None takes the codec's usual one.
        container: `mp4`, `mkv`, `mov`, `webm` or `y4m`, where the target's name does not say.
        audio: `copy`, `none`, or what to code sound as: `flac`, `opus:96k`, `aac`.
        salvage: Leave out what is damaged and list it in the result, instead of a `CorruptError`.
        follow: Go on while the source is being written.
        model: The model that the file was made with, if lvc does not find it by itself.
        latents: A `.npz` or `.safetensors` as `unpack_latents` writes it: frames are decoded from that, and not from
            what the source says of them.
        threads: Cores to use. None takes all.
        device: Where torch runs somebody else's VAE, as `cuda`.
        strict: What the container would lose is a `LossError` and no notice.
        max_memory: Bytes that pictures may take. None allows what the machine has.
        force: Replace an existing video.
        progress: Called with frames done, bytes in, bytes out and the expected number of frames (None: unknown).
        notice: Called with each line about what was lost or odd.

    Returns:
        Sizes, frames, times, and what was left out.

    Raises:
        UsageError: An argument is out of its range, or no frame lies in the range.
        CorruptError: The file is damaged (`TruncatedError`: cut off); with `salvage`, nothing of it could be saved.
        UnsupportedError: The file needs a newer lvc, or a model that is not here.
        OutputExistsError: The target exists, without `force` or as something that is no video.
        LimitError: Pictures are larger than memory or the limits allow.
        LossError: With `strict`, something would be lost.
        OSError: The disk or the network failed.

    Whatever is raised, nothing is left behind.
    """
    options = DecodeOptions(
        start=start, end=end, every=every, codec=codec, crf=crf, container=container, audio=audio, salvage=salvage,
        follow=follow, model=model, latents=latents, threads=threads, device=device, strict=strict,
        max_memory=max_memory,
    )  # fmt: skip
    return decode_video(os.fspath(source), os.fspath(target), options, force=force, progress=progress, notice=notice)
