"""The only module that calls `av.open`.

A file can make FFmpeg open other files, addresses and sockets: playlists, session descriptions, patterns of picture
names. So each call names the protocols and the formats that it allows. Both lists are needed: with
`protocol_whitelist` alone, a playlist named `film.mp4` could still read the files beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import av

from lvc.errors import MediaError

_VIDEOS = (
    "mov matroska webm avi asf asf_o mpegts mpegtsraw mpeg mpegvideo flv live_flv ogg nut mxf gxf ivf obu av1"
    " h264 hevc vvc evc m4v h261 h263 cavsvideo avs2 avs3 dirac vc1 vc1test mjpeg mjpeg_2000 mpjpeg"
    " yuv4mpegpipe dv rm wtv gif apng nsv nuv dhav smjpeg xmv swf cine ser r3d lxf mvi mtv ty pva rpl film_cpk"
    " filmstrip flic 4xm amv anm avs bethsoftvid bfi bink bmv c93 cdxl dfa dxa ea gdv hnm idcin ifv ipu iv8 jv"
    " kux mm moflex msnwctcp pmp psxstr rl2 roq smk smush thp usm vivo vmd wc3movie derf dnxhd apv iss ipmovie"
).split()
_PICTURES = (
    "bmp_pipe dds_pipe dpx_pipe exr_pipe gem_pipe gif_pipe hdr_pipe j2k_pipe jpeg_pipe jpegls_pipe jpegxl_pipe"
    " jpegxl_anim jpegxs_pipe pam_pipe pbm_pipe pcx_pipe pfm_pipe pgm_pipe pgmyuv_pipe pgx_pipe phm_pipe"
    " photocd_pipe pictor_pipe png_pipe ppm_pipe psd_pipe qdraw_pipe qoi_pipe sgi_pipe sunrast_pipe tiff_pipe"
    " webp_pipe xbm_pipe xpm_pipe xwd_pipe"
).split()
# formats without video: allowed, so that the error can say so
_SOUNDS = (
    "aac ac3 ac4 aiff amr ape au caf dts dtshd eac3 flac latm loas mlp mp3 mpc mpc8 oma opus spdif tak truehd"
    " tta voc w64 wav wv xwma"
).split()
FILES = (*_VIDEOS, *_PICTURES, *_SOUNDS)
"""Demuxers that read a single file and nothing else."""
_PLAYLISTS = ("hls", "dash", "concat", "sdp")
_STREAMS = ("rtsp", "rtp", "sdp", "rtp_mpegts", "mpegts", "flv", "live_flv", "matroska", "webm", "mov", "asf", "nut")

_WEB = "http,https,httpproxy,tcp,tls"
# protocols allowed for an address of each scheme, itself included
_PROTOCOLS = {
    "http": _WEB,
    "https": _WEB,
    "file": "file",
    "ftp": "ftp,tcp",
    "mms": "mms,mmsh,mmst,http,tcp",
    "mmsh": "mmsh,http,tcp",
    "mmst": "mmst,tcp",
    "pipe": "pipe",
    "rist": "rist",
    "rtmp": "rtmp,tcp",
    "rtmpe": "rtmpe,rtmp,tcp,ffrtmpcrypt,ffrtmphttp",
    "rtmps": "rtmps,rtmp,tls,tcp",
    "rtmpt": "rtmpt,rtmp,http,tcp,ffrtmphttp",
    "rtp": "rtp,udp",
    "rtsp": "rtp,udp,tcp,http,httpproxy",
    "rtsps": "rtp,srtp,udp,tcp,tls,https,httpproxy",
    "srt": "srt",
    "srtp": "srtp,rtp,udp",
    "tcp": "tcp",
    "tls": "tls,tcp",
    "udp": "udp",
    "unix": "unix",
}
_STREAMED = ("mms", "mmsh", "mmst", "rist", "rtmp", "rtmpe", "rtmps", "rtmpt", "rtp", "rtsp", "rtsps", "srt", "srtp")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """What FFmpeg may open: protocols and demuxers, as comma-separated lists."""

    protocols: str
    formats: str

    def options(self) -> dict[str, str]:
        return {"protocol_whitelist": self.protocols, "format_whitelist": self.formats}


NOTHING = Access("none", ",".join(FILES))
"""Bytes from a file object: no protocol has this name."""
FILE = Access("file", ",".join(FILES))
CAMERA = Access("file", "video4linux2")
RAW = Access("file", "rawvideo")
"""Pictures without a header: only on the caller's request, because any file would pass for them."""


def access_to(address: str, allow_playlists: bool = False) -> Access:
    """Access for a URL given by the user. Raises `MediaError` for unsupported schemes."""
    scheme = scheme_of(address)
    if scheme not in _PROTOCOLS:
        raise MediaError(
            f"no such file, and {scheme}: is not a URL scheme that lvc opens — check the name, or use one of "
            f"{', '.join(sorted(_PROTOCOLS))}"
        )
    formats = [*FILES, *_STREAMS] if scheme in _STREAMED else list(FILES)
    protocols = _PROTOCOLS[scheme]
    if allow_playlists:
        formats += _PLAYLISTS
        protocols += f",crypto,data,{_WEB}"
    return Access(protocols, ",".join(formats))


def access_to_playlist() -> Access:
    """Access for a file that may refer to others, with the user's permission."""
    return Access(f"file,crypto,data,rtp,udp,{_WEB}", ",".join([*FILES, *_PLAYLISTS]))


def scheme_of(name: str) -> str:
    """`rtsp` of `rtsp://camera`; empty if it is not a URL."""
    match = _SCHEME.match(name)
    return match[1].lower() if match else ""


def open_input(
    target: Any,
    access: Access,
    *,
    form: str | None = None,
    options: Mapping[str, str] | None = None,
    head: bytes = b"",
    **arguments: Any,
) -> Any:
    """An `av` input container. `target` is a name as FFmpeg spells it, or a file object; `form` the only demuxer.

    `head`: the first bytes of the file, if known, so that the error can name its kind. Raises `MediaError` for a format
    that `access` does not allow, and otherwise what PyAV raises.
    """
    try:
        return av.open(
            target, "r", format=form, container_options={**access.options(), **(options or {})},
            metadata_errors="replace", **arguments,
        )  # fmt: skip
    except av.error.ArgumentError as error:
        if form is not None:
            raise
        if (single := _single_picture(target, head)) is not None:
            return open_input(target, access, form=single, options=options, **arguments)
        raise MediaError(_refusal(head)) from error
    except av.error.InvalidDataError as error:
        if is_list(head):  # some formats are recognised only by name
            raise MediaError(_refusal(head)) from error
        raise


def _single_picture(target: Any, head: bytes) -> str | None:
    """The demuxer of a picture that FFmpeg takes for part of a sequence, because its first 2 kB tell less than its
    name: of most JPEGs."""
    if not head and isinstance(target, str):  # a URL
        return "jpeg_pipe" if target.lower().endswith((".jpg", ".jpeg")) else None
    return "jpeg_pipe" if head.startswith(b"\xff\xd8\xff") else "pam_pipe" if head.startswith(b"P7\n") else None


def open_output(target: Any, form: str | None = None, options: Mapping[str, str] | None = None) -> Any:
    """An `av` output container."""
    return av.open(target, "w", format=form, container_options=dict(options or {}), metadata_errors="replace")


_LISTS = (b"#EXTM3U", b"ffconcat", b"<MPD", b"[playlist]", b"[Reference]", b"<asx", b"v=0")


def is_list(head: bytes) -> bool:
    """Whether a file that begins like this is a playlist or a session description."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(_LISTS) or b"<MPD" in text


def _refusal(head: bytes) -> str:
    """Why a file was not opened, judged by its first bytes."""
    if is_list(head):
        return (
            "is a playlist, which names other files or addresses — name the video itself; lvc encode and lvc "
            "interpolate follow playlists with --allow-playlists"
        )
    if not head:
        return "is no video that lvc opens — if it is a playlist, lvc encode takes it with --allow-playlists"
    kind = "text" if b"\0" not in head and head.isascii() else "another kind of file"
    return f"is no video and no picture but {kind} — name a video"
