"""What one start costs of the venue's request weight, request by request, with daemon and venue as real processes."""

import signal
import sqlite3
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl

from benchmarks.world import World
from tradingd.config.credentials import SIM_CREDENTIALS
from tradingd.domain.ids import VenueId
from tradingd.venues.binance import BINANCE
from tradingd.venues.binance.calls import BinanceDialect
from tradingd.venues.translate import Book

INSTRUMENTS = ("BTC/USDT:USDT@binance", "ETH/USDT:USDT@binance")
FIXED = {
    "GET /fapi/v1/exchangeInfo": 1,
    "GET /fapi/v1/accountConfig": 5,
    "GET /fapi/v3/balance": 5,
    "GET /fapi/v1/leverageBracket": 1,
    "POST /fapi/v1/listenKey": 1,
    # the clock four times, in three samples each
    "GET /fapi/v1/time": 12,
    "GET /fapi/v3/account": 10,
    "GET /fapi/v3/positionRisk": 10,
}
EACH = {
    "POST /fapi/v1/marginType": 1,
    "POST /fapi/v1/leverage": 1,
    # the warm-up, then what closed since, each behind the venue's clock
    "GET /fapi/v1/klines": 2,
    "GET /fapi/v1/time": 2,
    # read before and behind the streams, and the sweep's proof each time
    "GET /fapi/v1/userTrades": 10,
    "GET /fapi/v1/openOrders": 4,
    "GET /fapi/v1/openAlgoOrders": 4,
}
"""For each instrument more."""
COPIES = 12
"""A read whose answer is slow, as on a machine that is busy, gets a second copy."""


def weight_of(dialect: BinanceDialect, method: str, path: str, params: str) -> int:
    variant = dialect.variant(path.rpartition("/")[2], dict(parse_qsl(params)))
    return BINANCE.weights.value.get(f"{method} {path[1:]}{variant}", 1)


def test_a_start_costs_the_weight_that_is_stated_here_and_no_more(tmp_path: Path) -> None:
    named = ", ".join(f'"{each}"' for each in INSTRUMENTS)
    world = World(tmp_path, {"TRADINGD__STRATEGIES__TREND__INSTRUMENTS": f"[{named}]"}, ["--speed", "1"])
    try:
        daemon = world.start(fresh=True)
        world.wait_ready()
        daemon.end(signal.SIGINT, 10)
    finally:
        world.close()
    dialect = BinanceDialect(VenueId("binance"), Book(), SIM_CREDENTIALS)
    spent: Counter[str] = Counter()
    with sqlite3.connect(f"file:{world.ledger}?mode=ro", uri=True) as db:
        for method, path, params in db.execute("SELECT method, path, params FROM requests"):
            spent[f"{method} {path}"] += weight_of(dialect, method, path, params)
    db.close()
    budget = Counter(FIXED)
    for what, weight in EACH.items():
        budget[what] += weight * len(INSTRUMENTS)
    assert spent.keys() == budget.keys()
    assert (budget - spent).total() == 0 and (spent - budget).total() <= COPIES, spent
    # five starts within one minute fit what market data may take of 2,400, with five instruments too
    least = 1 - 0.35
    assert 5 * (sum(FIXED.values()) + 5 * sum(EACH.values())) <= 2_400 * least
