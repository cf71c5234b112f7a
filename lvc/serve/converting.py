"""Concurrent conversions: their number, their queue, and the end of those whose client has left."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lvc.errors import LvcError
from lvc.serve.library import Item, Library
from lvc.serve.ranges import Sending
from lvc.serve.transcode import MP4, TYPE, Pieces, Pipe, stream

AT_A_TIME = 2
PATIENCE = 20.0  # seconds that a request waits in the queue before it gets 503
_ASK_AGAIN = "3"  # seconds
_KEPT_BYTES = 96 << 20  # of segments, since players request them again
_LISTS = 64
_LOOK = 0.2  # seconds between checks that the client is still connected
T = TypeVar("T")


class Busy(HTTPException):
    def __init__(self) -> None:
        text = f"{AT_A_TIME} videos are being converted already. This one waits for its turn."
        super().__init__(503, text, {"retry-after": _ASK_AGAIN})


class _Stream(Sending):
    def __init__(
        self, pieces: AsyncIterator[bytes], ended: Callable[[], Awaitable[None]], told: Callable[[Exception], object]
    ) -> None:
        super().__init__(pieces, media_type=TYPE, headers={"accept-ranges": "none"})
        self._ended, self._told = ended, told

    async def let_go(self) -> None:
        await self._ended()

    def failed(self, error: Exception) -> None:
        self._told(error)


class Conversions:
    """`notice` is called for requests that have to wait."""

    def __init__(self, library: Library, threads: int | None, notice: Callable[[str], object]) -> None:
        self._library = library
        self._threads = threads
        self._notice = notice
        self._turns = anyio.CapacityLimiter(AT_A_TIME)
        self._workers = anyio.CapacityLimiter(4 * AT_A_TIME)
        self._lists: OrderedDict[tuple[str, str], Pieces] = OrderedDict()
        self._headers: OrderedDict[tuple[str, str], tuple[bytes, str]] = OrderedDict()
        self._segments: OrderedDict[tuple[str, str, int, str], bytes] = OrderedDict()
        self._bytes = 0
        self._ends: set[Pipe] = set()

    # ---------------------------------------------------------------- one stream

    async def mp4(self, request: Request, item: Item, start: float) -> Response:
        """An MP4 that is made as long as it is read."""
        if request.method == "HEAD":
            return Response(media_type=TYPE)
        file, _ = await anyio.to_thread.run_sync(self._library.open, item)
        owner = object()
        try:
            await self._turn(owner, item)
        except BaseException:
            file.close()
            raise
        pipe = Pipe()
        ended = threading.Event()

        def run() -> None:
            error: BaseException | None = None
            try:
                with file:
                    stream(file, start, pipe, self._threads)
            except BaseException as problem:
                error = problem
            pipe.end(error)
            ended.set()

        self._ends.add(pipe)
        threading.Thread(target=run, name="lvc-convert", daemon=True).start()

        async def give_back() -> None:
            pipe.stop()
            self._ends.discard(pipe)
            with anyio.CancelScope(shield=True):
                while not ended.is_set():  # it keeps a processor busy until it notices
                    await anyio.sleep(0.05)
                self._turns.release_on_behalf_of(owner)

        async def take() -> bytes:
            return await anyio.to_thread.run_sync(pipe.take, abandon_on_cancel=True, limiter=self._workers)

        try:
            first = await take()  # an error in the file becomes a response of its own
        except BaseException:
            await give_back()
            raise

        async def pieces() -> AsyncIterator[bytes]:
            piece = first
            while piece:
                yield piece
                piece = await take()

        return _Stream(pieces(), give_back, lambda error: self._notice(f"{item.name}: {error}"))

    # ---------------------------------------------------------------- segments

    async def playlist(self, item: Item, kind: str, query: str) -> Response:
        pieces = await anyio.to_thread.run_sync(self._pieces, item)
        return Response(pieces.playlist(kind, query), media_type="application/vnd.apple.mpegurl")

    async def header(self, item: Item) -> Response:
        def made() -> tuple[bytes, str]:
            key = (item.name, item.version)
            if key not in self._headers:
                pieces = self._pieces(item)
                with self._opened(item) as file:
                    _keep(self._headers, key, pieces.header(file))
            return self._headers[key]

        data, kind = await anyio.to_thread.run_sync(made)
        return Response(data, headers={"content-type": kind})

    async def segment(self, request: Request, item: Item, number: int, kind: str) -> Response:
        pieces = await anyio.to_thread.run_sync(self._pieces, item)
        if not 0 <= number < len(pieces.pieces):
            raise HTTPException(404, "There is no such segment.")
        key = (item.name, item.version, number, kind)
        if key not in self._segments:
            owner = object()
            await self._turn(owner, item)
            try:
                if key not in self._segments:
                    data = await self._made(request, item, pieces, number, kind)
                    self._segments[key] = data
                    self._bytes += len(data)
                    while self._bytes > _KEPT_BYTES and len(self._segments) > 1:
                        self._bytes -= len(self._segments.popitem(last=False)[1])
            finally:
                self._turns.release_on_behalf_of(owner)
        self._segments.move_to_end(key)
        return Response(self._segments[key], media_type=TYPE if kind == MP4 else "video/mp2t")

    async def _made(self, request: Request, item: Item, pieces: Pieces, number: int, kind: str) -> bytes:
        stop = threading.Event()
        made: bytes | LvcError | OSError = b""

        def make() -> bytes:
            with self._opened(item) as file:
                return pieces.segment(file, number, kind, stop, self._threads)

        async def watch() -> None:
            while not await request.is_disconnected():
                await anyio.sleep(_LOOK)
            stop.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            try:
                made = await anyio.to_thread.run_sync(make, limiter=self._workers)
            except (LvcError, OSError) as error:  # the group would wrap it
                made = error
            finally:
                tasks.cancel_scope.cancel()
        if not isinstance(made, bytes):
            raise made
        return made

    def _pieces(self, item: Item) -> Pieces:
        key = (item.name, item.version)
        if key not in self._lists:
            with self._opened(item) as file:
                _keep(self._lists, key, Pieces(file))
        return self._lists[key]

    @contextmanager
    def _opened(self, item: Item) -> Iterator[BinaryIO]:
        file, _ = self._library.open(item)
        with file:
            yield file

    # ---------------------------------------------------------------- turns

    @property
    def free(self) -> int:
        return int(self._turns.available_tokens)

    async def _turn(self, owner: object, item: Item) -> None:
        """Wait in the queue. Raises `Busy` after `PATIENCE`."""
        if self._turns.available_tokens < 1:
            self._notice(f"{item.name} waits: {AT_A_TIME} videos are being converted already")
        with anyio.move_on_after(PATIENCE):
            await self._turns.acquire_on_behalf_of(owner)
            return
        raise Busy

    def close(self) -> None:
        """End every stream."""
        for pipe in list(self._ends):
            pipe.stop()


def _keep(kept: OrderedDict[tuple[str, str], T], key: tuple[str, str], value: T) -> None:
    kept[key] = value
    while len(kept) > _LISTS:
        kept.popitem(last=False)
