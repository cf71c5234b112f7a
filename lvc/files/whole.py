"""Encoding and decoding of whole files: the public functions, and those that the command line calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from lvc.errors import UsageError
from lvc.files.adapted import encode_adapted
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
    adapt: bool = False,
    strict: bool = False,
    max_memory: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> EncodeResult:
    """Compress a video file to a `.lvz`.

    Args:
        source: A video: a path, a URL (`https://…`, `s3://…`, any that FFmpeg opens), or `-` for standard input.
        target: The `.lvz`: a path, a URL, or `-` for standard output.
        model: A loaded model, a path, a name, or another VAE (`taesd:PATH`, `diffusers:FOLDER`). None: lvc's own.
        quality: 0 to 100; higher is better and larger.
        gop: The longest distance between key frames in seconds. Decoding can start at each.
        packing: The entropy coder: `rans`, or `zstd`, which is larger.
        effort: 0 to 9; higher is slower and smaller.
        tune: The metric to optimise for: `psnr`, or `ssim` (MS-SSIM), with the model made for it if installed.
        features: Store feature vectors for `lvc search`, under 1 kbit/s.
        threads: CPU threads. None: one per core.
        device: Where torch runs another VAE, such as `cuda`. lvc's own codec runs on the CPU.
        target_bitrate: Aim at this video bit rate in bits a second, instead of a quality.
        target_psnr: Aim at this mean PSNR (6:1:1) in dB, instead of a quality.
        target_size: Aim just below this file size in bytes, in two to six passes.
        target_vmaf: Aim at this mean VMAF, in several passes. Needs `lvc[eval]`.
        max_bitrate: The largest video bit rate in bits a second, for a buffer of `buffer` seconds (VBV).
        buffer: Seconds; a receiver at `max_bitrate` that waits for so long never waits again.
        bit_depth: 8 or 10 bits a sample. None keeps what the source has, up to 10.
        audio: `copy` bit for bit, `none`, or a codec: `opus:48k`, `flac`.
        subtitles: `copy` or `none`.
        resolution: Scale the video first: `1280x720`, `720p`, `x480`.
        fps: Change the frame rate first, in frames per second: 25, `30000/1001`.
        start: Start at this time, in seconds from the first frame.
        duration: Encode only this many seconds.
        close_gaps: Remove jumps in time of more than 5 s, as in recordings that were joined.
        allow_playlists: The source may be a playlist (HLS, DASH, concat) that refers to other files.
        verify: Decode and check the output before publishing it.
        embed_model: Store the model in the output, which then decodes without the model's file.
        adapt: Encode a second time with the model adapted to this video, and keep that, with the delta inside, if it
            is worth its bytes. Seldom is (docs/adaptation.md). Takes no target and no `max_bitrate`.
        strict: Raise `LossError` instead of sending a notice if anything of the source would be lost.
        max_memory: The most bytes that pictures may need. None: what the machine has.
        force: Replace an existing `.lvz`.
        progress: Called with frames done, bytes in, bytes out and the expected number of frames (None: unknown).
        notice: Called with each notice: a line about a loss or something unusual.

    Returns:
        Sizes, frames, times, and the targets reached.

    Raises:
        UsageError: An argument is out of range, or two exclude each other.
        MediaError: The source cannot be read, or has no video.
        OutputExistsError: The target exists, and `force` is not given or it is not a `.lvz`.
        UnsupportedError: The model is not installed, or `lvc[eval]` is missing for VMAF.
        LimitError: Pictures are too large for the memory or the format.
        LossError: With `strict`, something would be lost.
        CorruptError: With `verify`, the output does not decode to what was encoded.
        OSError: The disk or the network failed.

    Whatever is raised, nothing is left behind.
    """
    options = EncodeOptions(
        model=model, quality=quality, gop=gop, packing=packing, effort=effort, tune=tune, features=features,
        threads=threads, device=device, target_bitrate=target_bitrate, target_psnr=target_psnr,
        target_size=target_size, target_vmaf=target_vmaf, max_bitrate=max_bitrate, buffer=buffer, bit_depth=bit_depth,
        audio=audio, subtitles=subtitles, resolution=resolution, fps=fps, start=start, duration=duration,
        close_gaps=close_gaps, allow_playlists=allow_playlists, verify=verify, embed_model=embed_model, adapt=adapt,
        strict=strict, max_memory=max_memory,
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
    """As `encode_file`, with the options as one object. `origin` is stored in the file."""
    given = [text for name, text in _TARGETS.items() if getattr(options, name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} cannot be combined — give one of them")
    one: Callable[..., EncodeResult] = encode_once
    if options.adapt:
        one = encode_adapted
    elif options.target_size is not None:
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
    """Decompress a `.lvz` to a video file. For a range, only the GOPs that it touches are read.

    Args:
        source: The `.lvz`: a path, a URL, or `-` for standard input.
        target: The video: a path, a URL, or `-` for standard output (Y4M, unless `container` is given).
        start: Start at this time, in seconds from the first frame; the output begins at 0.
        end: Stop before this time, in seconds from the first frame.
        every: Take frames 0, n, 2n … alone, each shown until the next; a power of 2 is decoded that much faster.
        codec: What the output is coded with: `h264`, `hevc`, `av1`, or `ffv1`, which loses nothing. None takes `h264`
            for 8 bits a sample and `hevc` for 10; `av1` for `webm`.
        crf: Its quality, 0 to 63; lower is better, and larger. None takes the codec's usual one.
        container: `mp4`, `mkv`, `mov`, `webm` or `y4m`, if the target's extension does not tell.
        audio: `copy`, `none`, or a codec for the sound: `flac`, `opus:96k`, `aac`.
        salvage: Leave out what is damaged and list it in the result, instead of raising `CorruptError`.
        follow: Continue while the source is still being written.
        model: The model that the file was made with, if lvc does not find it.
        latents: A `.npz` or `.safetensors` as `unpack_latents` writes it: decode these latents instead of the file's.
        threads: CPU threads. None: one per core.
        device: Where torch runs another VAE, such as `cuda`.
        strict: Raise `LossError` instead of sending a notice if the container would lose anything.
        max_memory: The most bytes that pictures may need. None: what the machine has.
        force: Replace an existing video.
        progress: Called with frames done, bytes in, bytes out and the expected number of frames (None: unknown).
        notice: Called with each notice: a line about a loss or something unusual.

    Returns:
        Sizes, frames, times, and what was left out.

    Raises:
        UsageError: An argument is out of range, or no frame lies in the range.
        CorruptError: The file is damaged (`TruncatedError`: cut off); with `salvage`, nothing could be recovered.
        UnsupportedError: The file needs a newer lvc, or a model that is not installed.
        OutputExistsError: The target exists, and `force` is not given or it is not a video.
        LimitError: Pictures are too large for the memory or the limits.
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
