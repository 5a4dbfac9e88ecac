"""A built-in venue on a loopback port; Binance's marks each order request that arrives:
`... PORT_FILE MARKS SYMBOLS SEED [VENUE]`.
"""

import asyncio
import signal
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.latency.marks import Marks
from tradingd.emulator.bybit.instruments import BYBIT_INSTRUMENTS
from tradingd.emulator.core.instruments import INSTRUMENTS
from tradingd.emulator.server import VenueServer
from tradingd.emulator.venues import VenueOptions, open_model
from tradingd.emulator.wire import HttpRequest, HttpResponse, VenueModel


def marked(model: VenueModel, marks: Marks) -> VenueModel:
    """`model`, telling `marks` of every plain order request before it is handled."""
    handle = model.handle

    def marking(request: HttpRequest, lag_ms: int = 0, end_order_ms: int | None = None) -> HttpResponse:
        if request.method == "POST" and request.path == "/fapi/v1/order":
            marks.put("order")
        return handle(request, lag_ms, end_order_ms)

    model.handle = marking  # type: ignore[method-assign]
    return model


def list_made_up(symbols: tuple[str, ...]) -> None:
    """Let this process's venue list whatever symbols are asked for: like SOL, under other names."""
    for listed in (INSTRUMENTS, BYBIT_INSTRUMENTS):
        for symbol in symbols:
            if symbol not in listed:
                base = symbol.removesuffix("USDT")
                listed[symbol] = msgspec.structs.replace(listed["SOLUSDT"], symbol=symbol, base=base)


async def serve(port_file: Path, marks: Marks, symbols: tuple[str, ...], seed: int, venue: str) -> None:
    """Until SIGTERM."""
    list_made_up(symbols)
    model = open_model(VenueOptions(venue=venue, symbols=symbols, seed=seed), round(time.time() * 1000))
    server = VenueServer(marked(model, marks), asyncio.get_running_loop().time)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stopped.set)
    await server.start(0)
    port_file.write_text(str(server.port))  # noqa: ASYNC240  # before anybody is served
    await server.stopped.wait()
    await server.stop()


def main(arguments: list[str]) -> None:
    """The arguments of the module's text."""
    port_file, marks, symbols, seed, *venue = arguments
    serving = serve(Path(port_file), Marks(Path(marks)), tuple(symbols.split(",")), int(seed), *(venue or ["binance"]))
    asyncio.run(serving)


if __name__ == "__main__":
    main(sys.argv[1:])
