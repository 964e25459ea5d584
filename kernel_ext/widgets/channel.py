"""What a widget is told so that the page in the browser is right, though messages to it may be lost.

A front end makes a widget some time after the kernel has, and whatever was sent until then is lost; so is what a page
says to a kernel that is busy with a cell, in all releases of ipykernel without subshells: it comes when the cell is
over. Therefore nothing here depends on an answer. The page with all its data (the *opening*) is part of the widget's
state, which front ends always get. What changes later is numbered; a browser that misses a number waits for the next
opening. As long as none has said that it is there, openings are renewed: seldom, and the more so the larger they are.

Pure: no IO, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ...dashboard.hub import Hub, Viewer

__all__ = ["PageChannel"]

_FIRST_RENEWAL: Final = 0.5  # seconds; each time twice as many
_LAST_RENEWAL: Final = 8.0
_RENEWAL_RATE: Final = 50_000  # bytes a second that renewals may take

_encode: Final = msgspec.json.Encoder().encode


class PageChannel:
    """The kernel's end of one widget.

    Parameters
    ----------
    open
        Called with an opening, as bytes: the widget's state from now on.
    tell
        Called with a number and a text: what changes.
    """

    def __init__(self, open: Callable[[bytes], None], tell: Callable[[int, str], None]) -> None:  # noqa: A002 names it
        self._open = open
        self._tell = tell
        self._viewer: Viewer | None = None
        self._number = 0
        self._gap = _FIRST_RENEWAL
        self._renew_at: float | None = None
        self._stale = False
        self._collected: list[str] | None = None
        self.page = ""
        self.params: dict[str, str] = {}

    def show(self, hub: Hub, page: str, params: Mapping[str, str], now: float) -> None:
        """Show a page from now on.

        Raises
        ------
        UnknownPageError, BadParamsError
            There is no such page, or it has no such parameters. The widget shows what it did.
        """
        collected: list[str] = []
        self._collected = collected
        try:
            if self._viewer is None:
                self._viewer = hub.open(page, params, self._take)
            else:
                self._viewer.change(params, page)
        finally:
            self._collected = None
        self.page, self.params = page, dict(params)
        self._number += 1
        self._send_opening(collected)
        self._gap = _FIRST_RENEWAL
        self._renew_at = now + self._gap

    def here(self) -> None:
        """A browser says that it has what was sent."""
        self._renew_at = None

    def again(self, now: float) -> None:
        """A browser has missed something, or was just opened."""
        if self._viewer is not None and self._stale:
            self._renew()
        self._renew_at = None if self._renew_at is None else now + self._gap

    def tick(self, now: float) -> None:
        """Time has passed: renew the opening if that is due."""
        if self._renew_at is not None and now >= self._renew_at and self._viewer is not None:
            size = self._renew() if self._stale else 0
            self._gap = max(min(2 * self._gap, _LAST_RENEWAL), size / _RENEWAL_RATE)
            self._renew_at = now + self._gap

    def refuse(self, reason: str) -> None:
        """Tell why what the browser asked for can not be shown."""
        self._say({"type": "refused", "reason": reason})

    def acted(self, number: int, result: Mapping[str, Any]) -> None:
        """Tell how an action went that the browser gave a number."""
        self._say({"type": "acted", "number": number, **result})

    def close(self) -> None:
        """Show nothing any more."""
        if self._viewer is not None:
            self._viewer.close()
            self._viewer = None

    def _say(self, message: Mapping[str, Any]) -> None:
        self._take(_encode(message).decode())

    def _take(self, text: str) -> None:
        if self._collected is not None:
            self._collected.append(text)
            return
        self._number += 1
        self._stale = True
        self._tell(self._number, text)

    def _renew(self) -> int:
        assert self._viewer is not None
        return self._send_opening(self._viewer.opening())

    def _send_opening(self, texts: list[str]) -> int:
        data = b'{"number":%d,"texts":[%s]}' % (self._number, ",".join(texts).encode())
        self._stale = False
        self._open(data)
        return len(data)
