"""How a reply leaves over HTTP: whole, late, cut off, or not at all."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tradingd.emulator.faults.spoil import RESET, SILENCE, Spoilt
from tradingd.emulator.sessions import reset
from tradingd.emulator.wire import HttpResponse

LONGEST_SILENCE_S = 120.0
"""A client that waits longer for a reply is reset."""
_LOOK_EVERY_S = 0.1


async def give(request: web.Request, spoilt: Spoilt) -> web.StreamResponse:
    """Let the client feel what the fault left."""
    if spoilt.trouble == SILENCE:
        await _be_silent(request)
    if spoilt.trouble in (SILENCE, RESET):
        reset(request.transport)
        return web.Response(status=500)  # nobody reads it: the connection is gone
    response = spoilt.response
    assert response is not None, "a reply without trouble has a response"
    return whole(response) if spoilt.sent is None else await _cut(request, response, spoilt.sent)


def whole(response: HttpResponse) -> web.Response:
    """The reply as the venue gave it."""
    return web.Response(status=response.status, body=response.body, headers=dict(response.headers))


async def _be_silent(request: web.Request) -> None:
    for _ in range(round(LONGEST_SILENCE_S / _LOOK_EVERY_S)):
        if request.transport is None or request.transport.is_closing():
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def _cut(request: web.Request, response: HttpResponse, sent: int) -> web.StreamResponse:
    """Announce the whole body, send its beginning, and close: what is on its way still arrives."""
    partial = web.StreamResponse(status=response.status, headers=dict(response.headers))
    partial.content_length = len(response.body)
    await partial.prepare(request)
    await partial.write(response.body[:sent])
    if request.transport is not None:
        request.transport.close()
    return partial
