"""The application and its routes."""

from __future__ import annotations

import os
import re
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lvc.errors import LvcError
from lvc.models.browser import player_folder
from lvc.serve.assets import FOR_EVER, Assets
from lvc.serve.converting import Conversions
from lvc.serve.finding import MOST_BYTES, Finder, Found
from lvc.serve.guard import Guard
from lvc.serve.library import MOST_FILES, Folder, Item, Library
from lvc.serve.pages import Pages, address, card, clock, date, facts, shown
from lvc.serve.pages import size as size_text
from lvc.serve.ranges import file_answer
from lvc.serve.thumbs import Thumbnails
from lvc.serve.transcode import MP4, TS

_HERE = Path(__file__).parent
_PER_PAGE = 120
_OTHERS = 12
_MODEL = re.compile(r"/models/([0-9a-f]{64})\.decoder", re.ASCII)
_MP4 = re.compile(r"(.+)\.mp4", re.DOTALL)
_HLS = re.compile(r"(.+)/(index\.m3u8|mp4\.m3u8|init\.mp4|(\d{1,7})\.(m4s|ts))", re.DOTALL | re.ASCII)
_SORTS = {"name": "Name", "new": "Newest", "long": "Longest", "large": "Largest"}
_PRELOADED = (
    "lvz-player", "worker", "container", "controls", "colour", "engine", "errors", "gop", "model", "mp4", "renderer",
    "session", "sound", "source", "style", "subtitles", "clock",
)  # fmt: skip
"""Modules that the page of a video preloads in parallel, instead of one after another as imports are found."""


@dataclass
class Settings:
    """`token` `None`: only on loopback. `names`: names of this machine that are accepted in `Host`."""

    port: int
    token: str | None = None
    names: tuple[str, ...] = ()
    threads: int | None = None
    transcode: bool | None = None
    """Whether pages play converted video: always (`True`), only where the browser cannot decode (`None`), or never."""
    notice: Callable[[str], object] = print
    database: str | None = None
    """The folder of a database of `lvc search`."""


@dataclass
class Application:
    """The ASGI application. `close` ends running conversions."""

    asgi: ASGIApp
    close: Callable[[], None]


def application(library: Library, settings: Settings) -> Application:
    site = Site(library, settings)
    routes = [
        Route("/", site.gallery),
        Route("/browse/{name:path}", site.gallery),
        Route("/watch/{name:path}", site.watch),
        Route("/files/{name:path}", site.file),
        Route("/thumbs/{name:path}", site.thumb),
        Route("/mp4/{name:path}", site.mp4),
        Route("/hls/{name:path}", site.hls),
        Route("/api/conversions", site.conversions_free),
        Route("/search", site.search),
        Route("/api/search", site.search_by_file, methods=["POST"]),
        Route("/static/{version}/{name}", site.static.answer),
        Route("/player/{version}/{name}", site.player.answer),
        Route("/models/{name}", site.model),
        Route("/favicon.ico", lambda request: RedirectResponse(f"{site.static.address}/icon.svg")),
    ]
    handlers: dict[Any, Any] = {
        HTTPException: site.refused, LvcError: site.failed, OSError: site.failed, Exception: site.broken,
    }  # fmt: skip
    inner = Starlette(routes=routes, exception_handlers=handlers)
    # the outermost layer, so that error responses pass it too
    guard = Guard(inner, token=settings.token, port=settings.port, names=settings.names)
    return Application(guard, site.conversions.close)


class Site:
    """The handlers. Files are read on threads."""

    def __init__(self, library: Library, settings: Settings) -> None:
        self.library = library
        self.settings = settings
        self.static = Assets("/static/", _HERE / "static")
        self.player = Assets("/player/", player_folder())
        self.pages = Pages()
        self.thumbnails = Thumbnails(library, settings.threads)
        self._thumb_turns = anyio.CapacityLimiter(4)
        self._searches = anyio.CapacityLimiter(1)
        self._uploads = anyio.CapacityLimiter(2)
        self.conversions = Conversions(library, settings.threads, settings.notice)
        self.finder = None if settings.database is None else Finder(library, settings.database, settings.threads)
        self._decoders: dict[str, bytes] = {}

    # ---------------------------------------------------------------- pages

    def _page(self, name: str, status: int = 200, **values: object) -> HTMLResponse:
        site = shown(self.library.title) or "lvc"
        common = {"site": site, "q": "", "search": self.finder is not None, "static": self.static.address}
        return HTMLResponse(self.pages.page(name, **{**common, **values}), status)

    async def gallery(self, request: Request) -> Response:
        return await anyio.to_thread.run_sync(self._gallery, request)

    def _gallery(self, request: Request) -> Response:
        library = self.library
        q = request.query_params.get("q", "").strip()[:200]
        folder = _name(request, "/browse/") if request.url.path.startswith("/browse/") else ""
        folder = folder.rstrip("/")
        if q:
            words = q.casefold().split()
            items = [i for i in library.items().values() if all(word in i.name.casefold() for word in words)]
            folders: list[Folder] = []
        else:
            inside = library.inside(folder)
            if inside is None:
                raise HTTPException(404, "There is no such folder here.")
            folders, items = inside
        order = request.query_params.get("sort", "name")
        order = order if order in _SORTS else "name"
        if order == "new":
            items.sort(key=lambda item: -item.changed)
        elif order == "large":
            items.sort(key=lambda item: -item.size)
        elif order == "long":
            items.sort(key=lambda item: -(library.details(item).seconds or 0.0))
        pages = max(1, -(-len(items) // _PER_PAGE))
        number = min(pages, max(1, _number(request, "page")))
        here = items[(number - 1) * _PER_PAGE : number * _PER_PAGE]
        known = [library.details(item) for item in here]
        cards = [card(item, details, item.folder if q else "") for item, details in zip(here, known, strict=True)]
        prefix, rest = ("/browse/", folder) if folder else ("/", "")

        def link(**query: object) -> str:
            return address(prefix, rest, **{"q": q, **query})

        sorted_by = "" if order == "name" else order
        lengths = [details.seconds for details in known if details.seconds]
        return self._page(
            "gallery",
            title=f"{shown(folder.rpartition('/')[2]) or shown(library.title) or 'Videos'} – lvc",
            heading=f"Found: {q}" if q else shown(library.title) or "Videos",
            crumbs=self._crumbs(folder) if folder and not q else [],
            q=q,
            total=len(items),
            length=clock(sum(lengths)) if pages == 1 and lengths else "",
            sorts=[
                {"title": title, "href": link(sort="" if key == "name" else key), "current": key == order}
                for key, title in _SORTS.items()
            ],
            folders=[
                {"title": shown(f.title), "href": address("/browse/", f.name), "videos": f.videos} for f in folders
            ],
            cards=cards,
            complete=library.complete,
            most=f"{MOST_FILES:,}",
            page=number,
            pages=pages,
            before=link(sort=sorted_by, page=number - 1) if number > 1 else None,
            after=link(sort=sorted_by, page=number + 1) if number < pages else None,
        )

    def _crumbs(self, folder: str) -> list[dict[str, str]]:
        crumbs = [{"title": shown(self.library.title) or "Videos", "href": "/"}]
        at = ""
        for part in folder.split("/"):
            at = f"{at}/{part}" if at else part
            crumbs.append({"title": shown(part), "href": address("/browse/", at)})
        return crumbs

    async def watch(self, request: Request) -> Response:
        return await anyio.to_thread.run_sync(self._watch, request)

    def _watch(self, request: Request) -> Response:
        item = self._item(request, "/watch/")
        details = self.library.details(item)
        title = shown(details.tags.get("title") or item.title)
        inside = self.library.inside(item.folder)
        converts = self.settings.transcode is not False
        others = [other for other in inside[1] if other.name != item.name] if inside else []
        return self._page(
            "watch",
            title=f"{title} – lvc",
            heading=title,
            src=address("/files/", item.name),
            thumb=address("/thumbs/", item.name, v=item.version),
            filename=shown(item.name.rpartition("/")[2]),
            seconds=details.seconds or "",
            ratio=f"{details.width} / {details.height}" if details.height else "",
            error=None if details.error is None else shown(details.error),
            summary=", ".join(filter(None, [clock(details.seconds), size_text(item.size), date(item.changed)])),
            facts=[] if details.error is not None else facts(item, details),
            chapters=[{"t": f"{at:g}", "at": clock(at), "title": shown(name)} for at, name in details.chapters],
            others=[card(other, self.library.details(other)) for other in others[:_OTHERS]],
            mp4=address("/mp4/", f"{item.name}.mp4") if converts else "",
            hls=address("/hls/", f"{item.name}/index.m3u8") if converts else "",
            segments=address("/hls/", f"{item.name}/mp4.m3u8") if converts else "",
            mp4_shared=address("/mp4/", f"{item.name}.mp4", token=self.settings.token),
            hls_shared=address("/hls/", f"{item.name}/index.m3u8", token=self.settings.token),
            transcode_first=bool(self.settings.transcode),
            player=self.player.address,
            modules=() if self.settings.transcode else _PRELOADED,
            similar=address("/search", **{"in": item.name, "t": "0"}) if self.finder is not None else "",
        )

    # ---------------------------------------------------------------- files

    def _item(self, request: Request, prefix: str) -> Item:
        item = self.library.find(_name(request, prefix))
        if item is None:
            raise HTTPException(404, "There is no such video here.")
        return item

    async def file(self, request: Request) -> Response:
        item = await anyio.to_thread.run_sync(self._item, request, "/files/")
        file, status = await anyio.to_thread.run_sync(self.library.open, item)
        return file_answer(request, file, status, "video/x-lvz")

    async def thumb(self, request: Request) -> Response:
        item = await anyio.to_thread.run_sync(self._item, request, "/thumbs/")
        seconds = _seconds(request, "t")
        tag = f'"{item.version}-{seconds}"'
        headers = {"etag": tag, "cache-control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)

        def drawn() -> bytes:
            return self.thumbnails.picture(item, self.library.details(item), seconds)

        picture = await anyio.to_thread.run_sync(drawn, limiter=self._thumb_turns)
        return Response(picture, media_type="image/jpeg", headers=headers)

    # ---------------------------------------------------------------- converted

    async def _converted(self, request: Request, prefix: str, ending: re.Pattern[str]) -> tuple[Item, re.Match[str]]:
        """The video that an address names, and the rest of the address."""
        if self.settings.transcode is False:
            raise HTTPException(404, "This server was started without conversion.")
        match = ending.fullmatch(_name(request, prefix))
        item = None if match is None else await anyio.to_thread.run_sync(self.library.find, match[1])
        if item is None or match is None:
            raise HTTPException(404, "There is no such video here.")
        return item, match

    async def mp4(self, request: Request) -> Response:
        item, _ = await self._converted(request, "/mp4/", _MP4)
        details = await anyio.to_thread.run_sync(self.library.details, item)
        start = _seconds(request, "start") or 0.0
        if details.seconds is not None and start >= details.seconds:
            raise HTTPException(416, f"The video is only {details.seconds:.3f} seconds long.")
        return await self.conversions.mp4(request, item, start)

    async def hls(self, request: Request) -> Response:
        item, match = await self._converted(request, "/hls/", _HLS)
        if match[2].endswith(".m3u8"):
            query = f"?token={self.settings.token}" if "token" in request.query_params else ""
            return await self.conversions.playlist(item, MP4 if match[2] == "mp4.m3u8" else TS, query)
        if match[2] == "init.mp4":
            return await self.conversions.header(item)
        return await self.conversions.segment(request, item, int(match[3]), match[4])

    async def conversions_free(self, request: Request) -> Response:
        return JSONResponse({"free": self.conversions.free})

    # ---------------------------------------------------------------- search

    def _finder(self) -> Finder:
        if self.finder is None:
            raise HTTPException(404, "This server was started without a search database: lvc serve --db.")
        return self.finder

    async def search(self, request: Request) -> Response:
        finder = self._finder()
        key = request.query_params.get("found", "")
        name, seconds = request.query_params.get("in", ""), _seconds(request, "t") or 0.0
        item = await anyio.to_thread.run_sync(self.library.find, name) if name else None
        if name and item is None:
            raise HTTPException(404, "There is no such video here.")
        if item is None:
            found = finder.recalled(key) if key else []
            if found is None:
                return self._results(None, 0.0, [], "These results are gone. Search again.")
            return self._results(None, 0.0, found, "" if not key else _counted_results(found))
        found = await anyio.to_thread.run_sync(finder.near, item, seconds, limiter=self._searches)
        return self._results(item, seconds, found, _counted_results(found))

    def _results(self, item: Item | None, seconds: float, found: list[Found], said: str) -> Response:
        cards = []
        for place in found:
            middle = round((place.start + place.end) / 2, 2)
            made = card(place.item, self.library.details(place.item))
            span = clock(place.start) if place.end - place.start < 1 else f"{clock(place.start)} – {clock(place.end)}"
            made |= {
                "watch": address("/watch/", place.item.name) + f"#t={place.start:.2f}",
                "thumb": address("/thumbs/", place.item.name, v=place.item.version, t=f"{middle:.2f}"),
                "length": span, "spoken": f"at {clock(place.start)}", "picture": "", "where": "",
                "size": f"{round(100 * max(0.0, place.score))} % alike",
            }  # fmt: skip
            cards.append(made)
        asked = None if item is None else {
            "title": shown(self.library.details(item).tags.get("title") or item.title),
            "at": clock(seconds),
            "watch": address("/watch/", item.name) + f"#t={seconds:.2f}",
            "thumb": address("/thumbs/", item.name, v=item.version, t=f"{seconds:.2f}"),
        }  # fmt: skip
        return self._page("search", title="Search – lvc", asked=asked, cards=cards, said=said)

    async def search_by_file(self, request: Request) -> Response:
        """Store an upload in a temporary file for the duration of the search."""
        finder = self._finder()
        too_much = HTTPException(413, f"Send at most {MOST_BYTES >> 20} MiB: a picture, or a short clip.")
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BYTES:
            raise too_much
        async with self._uploads:
            with tempfile.TemporaryDirectory(prefix="lvc-") as folder:
                path, size = Path(folder, "asked"), 0
                with path.open("wb") as file, anyio.fail_after(120):
                    async for piece in request.stream():
                        size += len(piece)
                        if size > MOST_BYTES:
                            raise too_much
                        file.write(piece)
                found = await anyio.to_thread.run_sync(finder.like, path, limiter=self._searches)
        return JSONResponse({"page": f"/search?found={finder.remember(found)}"})

    # ---------------------------------------------------------------- ours

    async def model(self, request: Request) -> Response:
        match = _MODEL.fullmatch(request.url.path)
        data = await anyio.to_thread.run_sync(self._decoder, match[1]) if match is not None else None
        if data is None:
            raise HTTPException(404, "This model is not installed here: put it in a folder named by LVC_MODELS.")
        return Response(data, media_type="application/octet-stream", headers={"cache-control": FOR_EVER})

    def _decoder(self, sha256: str) -> bytes | None:
        if sha256 not in self._decoders:
            from lvc.errors import UnsupportedError
            from lvc.models import find_model
            from lvc.models.browser import decoder_only

            try:
                decoder = decoder_only(find_model("", bytes.fromhex(sha256)))
            except UnsupportedError:
                return None
            if len(self._decoders) >= 8:
                self._decoders.clear()
            self._decoders[sha256] = decoder
        return self._decoders[sha256]

    # ---------------------------------------------------------------- errors

    async def refused(self, request: Request, error: HTTPException) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        text = error.detail if error.status_code == 404 and error.detail != "Not Found" else "There is no such page."
        return self._page("message", error.status_code, title="lvc", heading="Not found", text=text)

    async def failed(self, request: Request, error: Exception) -> Response:
        """A file that cannot be read, decoded or converted."""
        text = str(error) if isinstance(error, LvcError) else getattr(error, "strerror", None) or "cannot be read"
        return PlainTextResponse(f"{shown(text)}\n", 404 if isinstance(error, FileNotFoundError) else 422)

    async def broken(self, request: Request, error: Exception) -> Response:
        traceback.print_exception(error)
        return PlainTextResponse("internal error: a bug in lvc; the terminal of lvc serve says more\n", 500)


def _name(request: Request, prefix: str) -> str:
    """The rest of a path as the name of a file, which is looked up and never opened."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    return os.fsdecode(unquote_to_bytes(raw[len(prefix) :]))


def _counted_results(found: list[Found]) -> str:
    return (
        f"{len(found)} video{'' if len(found) == 1 else 's'} with something like it"
        if found
        else "Nothing like it here."
    )


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 1


def _seconds(request: Request, name: str) -> float | None:
    """A time in the query string; `None` if it is not one."""
    text = request.query_params.get(name, "")
    if not re.fullmatch(r"\d{1,7}(\.\d{1,6})?", text, re.ASCII):
        return None
    return float(text)
