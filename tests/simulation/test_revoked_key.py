"""A key that is revoked while a position is open: in virtual time, each venue beside the other."""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.test_both_venues import BINANCE, BYBIT
from tradingd.domain.ids import VenueId
from tradingd.emulator.faults.language import Rule, Script
from tradingd.simulation.world import BOTH, World, WorldOptions

READS = ("balance", "positions", "open_orders", "history", "look_up")
SIGNED = (*READS, "create", "create_conditional", "cancel", "settings")
REVOKED_S = 150.0
SIGNED_PATHS = ("/v5/order", "/v5/position", "/v5/execution", "/v5/account", "/v5/user")
STRATEGY = """
[strategies.on_{venue}]
plugin = "script"
instruments = ["BTC/USDT:USDT@{venue}"]
timeframe = "1m"
hold_candles = 0
lines = "1 buy 0.02 0.02; 2 exit; 3 buy 0.02 0.02; 6 buy 0.02 0.02; 7 exit"
"""


def rows(world: World, query: str, *given: Any) -> list[Any]:
    with sqlite3.connect(f"file:{world.settings.journal_path}?mode=ro", uri=True) as db:
        return db.execute(query, given).fetchall()


def entries(world: World, venue: VenueId) -> int:
    """How many entries the venue filled."""
    query = "SELECT count(DISTINCT o.client_order_id) FROM orders o JOIN fills f USING (client_order_id)"
    return int(rows(world, query + " WHERE o.purpose = 'entry' AND o.venue = ?", venue)[0][0])


def is_order(request: Any) -> bool:
    """Whether it sends an order."""
    return str(request.path) in ("/fapi/v1/order", "/v5/order/create")


def is_signed(request: Any) -> bool:
    """Whether the key is needed for it."""
    return "signature=" in request.query or request.path.startswith(SIGNED_PATHS)


@pytest.mark.fault(71)
@pytest.mark.parametrize(("bad", "good"), [(BINANCE, BYBIT), (BYBIT, BINANCE)])
def test_a_key_revoked_under_a_position_leaves_its_stop_and_the_exit_goes_once_it_works_again(
    tmp_path: Path, bad: VenueId, good: VenueId
) -> None:
    strategies = STRATEGY.format(venue=BINANCE) + STRATEGY.format(venue=BYBIT)
    world = World(tmp_path, WorldOptions(venue=BOTH, symbols=("BTCUSDT",), strategies=strategies))
    try:
        world.start()
        world.run_for(90)
        assert world.daemon is not None and world.daemon.core is not None
        state = world.daemon.core.execution.state
        assert len(state.open_positions(bad)) == len(state.open_positions(good)) == 1
        network = world.sites[bad].network
        revoked = Rule(do="answer", on=SIGNED, since_ms=0, what=(("reply", "bad_key"),))
        network.faults.begin(Script(rules=(revoked,)))
        world.run_for(REVOKED_S)
        assert len(state.open_positions(bad)) == 1  # nothing touched it or its stop
        since = [each for each in network.log.requests if each.sent_us > 91e6]
        assert not [each for each in since if each.method == "DELETE" or "cancel" in str(each.path)]
        told = rows(world, "SELECT detail FROM incidents WHERE kind = 'key_refused' AND severity = 'critical'")
        assert len(told) == 1 and f"venues.{bad}.credentials_file" in told[0][0] and ".." not in told[0][0], told
        tries = [each for each in since if each.method == "POST" and is_order(each)]
        assert 1 <= len(tries) <= 4, [each.sent_us / 1e6 for each in tries]
        asked = Counter(each.path for each in since if each.method == "GET" and is_signed(each))
        assert asked and max(asked.values()) <= 1 + REVOKED_S / 60, asked
        assert entries(world, good) == 2 and entries(world, bad) == 1
        network.faults.begin(Script())
        world.run_for(75)  # what was refused is asked again a minute later
        assert not state.open_positions(bad)
        world.run_for(60)
        assert entries(world, bad) == 2  # and the next entry is taken again
    finally:
        world.close()
