"""Bybit V5: the one envelope of its answers, and lists that come in pages."""

from typing import Any

from tradingd.venues.dialect import Caller, Params
from tradingd.venues.reply import readable


def result(value: Any, what: str) -> Any:
    """`result` of a decoded answer; raises VenueUnreachable for what is no answer of this venue."""
    with readable(what):
        found = value["result"]
        if str(value["retCode"]) != "0" or not isinstance(found, dict):
            raise TypeError(f"expected an object, got {type(found).__name__}")
        return found


def rows_of(page: Any, what: str) -> list[Any]:
    """`list` of a result; an object in its place is no empty list."""
    with readable(what):
        rows = page["list"]
        if not isinstance(rows, list):
            raise TypeError(f"expected a list, got {type(rows).__name__}")
        return rows


async def read_all(caller: Caller, endpoint: str, params: Params, what: str) -> list[Any]:
    """Every page of a list, or an exception: a page that is full tells of another by its cursor alone."""
    found: list[Any] = []
    seen: set[str] = set()
    cursor = ""
    while True:
        page = result(await caller.read(endpoint, params | ({"cursor": cursor} if cursor else {})), what)
        rows = rows_of(page, what)
        found += rows
        cursor = str(page.get("nextPageCursor") or "")
        if not cursor or not rows:
            return found
        with readable(what):
            if cursor in seen:
                raise ValueError("a cursor that leads back")
        seen.add(cursor)
