"""The websocket: pages and what changes on them, for viewers that behave and for those that do not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tornado.websocket import WebSocketClientConnection

import himalia
from himalia.dashboard.server import stream as module

from .conftest import Client


async def read(stream: WebSocketClientConnection) -> dict[str, Any]:
    text = await stream.read_message()
    assert isinstance(text, str)
    message: dict[str, Any] = json.loads(text)
    return message


async def test_a_page_comes_with_its_data_and_then_with_what_changes(member: Client) -> None:
    @himalia.remote
    def shown_on_the_page() -> None:
        pass

    async with member.stream() as stream:
        await stream.write_message(json.dumps({"type": "open", "page": "overview"}))
        page, data = await read(stream), await read(stream)
        assert (page["type"], page["name"]) == ("page", "overview")
        assert {op["op"] for op in data["ops"]} == {"reset"}
        himalia.get([shown_on_the_page.remote() for _ in range(10)])
        while "shown_on_the_page" not in json.dumps(message := await read(stream)):
            assert message["type"] == "data"


async def test_what_can_not_be_shown_is_refused_and_the_page_before_goes_on(member: Client) -> None:
    async with member.stream() as stream:
        for wrong, why in [
            ("nonsense", "malformed"),
            ('{"type": "params", "params": {}}', "no page is open"),
            ('{"type": "open", "page": "none"}', "no page 'none'"),
            ('{"type": "open", "page": "overview", "params": {"no": "such"}}', "no parameter no"),
            ('{"type": "run", "code": "1"}', "run"),
        ]:
            await stream.write_message(wrong)
            message = await read(stream)
            assert message["type"] == "refused"
            assert why in message["reason"]
        await stream.write_message(json.dumps({"type": "open", "page": "task_stream"}))
        assert (await read(stream))["name"] == "task_stream"
        await stream.write_message('{"type": "params", "params": {"no": "such"}}')
        while (message := await read(stream))["type"] == "data":
            pass
        assert message["type"] == "refused"


class SlowStream(module.StreamHandler):
    """A handler whose connection takes nothing until it is told to."""

    def __init__(self) -> None:
        # Not `RequestHandler`'s: there is no request.
        self._waiting = set()
        self.sent: list[Any] = []

    def write_message(self, message: Any, binary: bool = False) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.sent.append((message, future))
        return future


class Recorded:
    """A viewer that only notes that it was sent anew."""

    def __init__(self, stream: SlowStream) -> None:
        self.stream = stream

    def change(self, params: Any, page: str) -> None:
        self.stream._send(f"anew {page}")


async def test_who_reads_too_slowly_is_left_alone_and_then_sent_the_page_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_UNSENT", 100)
    slow = SlowStream()
    slow._viewer = Recorded(slow)  # type: ignore[assignment]
    slow._asked = module.Open("overview")
    for _ in range(50):
        slow._send("x" * 30)
    assert len(slow.sent) == 4, "what is beyond the bound is not kept"
    for _, future in slow.sent[:]:
        future.set_result(None)
    await asyncio.gather(*slow._waiting)
    assert slow.sent[4][0] == "anew overview"
    slow._send("news")
    assert slow.sent[5][0] == "news"
    for _, future in slow.sent[4:]:
        future.set_result(None)
    await asyncio.gather(*slow._waiting)


async def test_pages_go_on_after_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.0)
    pages = module.Pages(None)  # type: ignore[arg-type]  # no cluster is asked
    rounds: asyncio.Queue[None] = asyncio.Queue()

    async def broken() -> None:
        rounds.put_nowait(None)
        raise TypeError("an error of ours")

    monkeypatch.setattr(pages.hub, "run", broken)
    driving = asyncio.create_task(pages._drive())
    try:
        async with asyncio.timeout(30):
            await rounds.get()
            await rounds.get()
    finally:
        driving.cancel()
        await asyncio.wait([driving])
    assert "pages could not be brought up to date" in caplog.text
