"""The guard before every request, without a server: what HTTP clients do not send, but others may."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from lvc.serve.guard import Guard


def answered(scope: dict[str, Any], token: str | None) -> tuple[list[dict[str, Any]], bool]:
    """What is sent for a request, and whether it reached the pages."""
    sent: list[dict[str, Any]] = []
    reached: list[Any] = []

    async def pages(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    anyio.run(Guard(pages, token=token, port=8080), scope, receive, send)
    return sent, bool(reached)


def with_cookie(cookie: bytes) -> dict[str, Any]:
    return {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/", "query_string": b"",
        "headers": [(b"host", b"localhost:8080"), (b"cookie", cookie)], "server": ("127.0.0.1", 8080),
    }  # fmt: skip


def test_a_websocket_is_closed_before_it_is_open() -> None:
    sent, reached = answered({"type": "websocket", "path": "/", "headers": []}, "secret")
    assert sent == [{"type": "websocket.close", "code": 1008}] and not reached


def test_the_start_of_the_server_is_no_request() -> None:
    assert answered({"type": "lifespan"}, "secret") == ([], True)


@pytest.mark.parametrize(
    "cookie",
    [b"", b"lvc-8080=", b"lvc-8080=secre", b"lvc-8080=secret2", b"other=secret", b"lvc-8081=secret", b"a;b=\xff;=;",
     b"lvc-8080=\x00; [bad]=x", b"lvc-8080=" + b"s" * 100_000, b"\xf0\x28\x8c\x28=secret"],
)  # fmt: skip
def test_another_cookie_is_no_token(cookie: bytes) -> None:
    sent, reached = answered(with_cookie(cookie), "secret")
    assert not reached and sent[0]["status"] == 403


def test_the_cookie_is() -> None:
    sent, reached = answered(with_cookie(b"theme=dark; lvc-8080=secret"), "secret")
    assert reached and not sent
