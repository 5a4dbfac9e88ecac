"""Compares the venue's ledger with the daemon's journal, and both with the candle file.

    python -m benchmarks.compare --ledger var/venues/binance/ledger.db --journal var/sim.db --candles FILE

Exit status 1 on any difference. Shares no code with the daemon (see evidence.py).
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from benchmarks.evidence import (
    ZERO,
    JournalOrder,
    JournalSide,
    Level,
    Row,
    VenueOrder,
    VenueSide,
    read_candles,
    read_journal,
    read_venue,
)

MINUTE_MS = 60_000
SHOWN = 5
UNPROTECTED_LIMIT_S = 5.0

STATUS = {
    "NEW": {"ACCEPTED"},
    "PARTIALLY_FILLED": {"PARTIALLY_FILLED"},
    "FILLED": {"FILLED"},
    "CANCELED": {"CANCELED"},
    "EXPIRED": {"EXPIRED"},
    "REJECTED": {"REJECTED"},
    "TRIGGERING": {"ACCEPTED", "TRIGGERED"},
    "TRIGGERED": {"TRIGGERED", "PARTIALLY_FILLED"},
    "FINISHED": {"FILLED"},
}
"""The venue's words and the journal's for the same state of an order."""
TOLD_AS = {"bybit": {"EXPIRED": {"CANCELED"}}}
"""Where a venue's dialect has no word for a state: Bybit tells an order that it ends by itself as Cancelled."""


class Question(NamedTuple):
    """What is compared, and under which rules."""

    venue: VenueSide
    journal: JournalSide
    rows: list[Row]
    history: int
    prefix: str
    hold_candles: int
    speed: float

    @property
    def ours(self) -> list[VenueOrder]:
        """Orders on the venue that carry our prefix."""
        return [order for order in self.venue.orders if order.client_order_id.startswith(f"{self.prefix}-")]


class Finding(NamedTuple):
    """One comparison: how much was looked at, what is wrong, and figures worth printing."""

    name: str
    looked_at: int
    wrong: list[str]
    figures: str = ""


def twice(items: Iterable[object]) -> list[str]:
    """What occurs more than once."""
    return [f"{item} {count} times" for item, count in Counter(items).items() if count > 1]


def candles_offered(q: Question) -> Finding:
    """The venue offered each line of the file once, unchanged."""
    offered = {(symbol, open_ms): prices for symbol, open_ms, prices in q.venue.candles}
    symbols = {symbol for symbol, _ in offered}
    wrong = [f"{len(symbols)} markets on the venue, one file"] if len(symbols) != 1 else []
    for row in q.rows[q.history:]:
        for symbol in symbols:
            if offered.pop((symbol, row.open_ms), None) != row.prices:
                wrong.append(f"the venue did not close {symbol} {row.open_ms} as the file has it")
    wrong += [f"candle {key} is not in the file" for key in offered]
    return Finding("candles offered by the venue", len(q.rows) - q.history, wrong)


def candles_decided(q: Question) -> Finding:
    """Each candle of the file was put before the strategy exactly once, in order."""
    wanted = [row.open_ms + MINUTE_MS for row in q.rows[q.history:]]
    wrong: list[str] = []
    late = 0
    ages: list[int] = []
    streams = {decision.stream for decision in q.journal.decisions}
    for stream in sorted(streams):
        decided = [each for each in q.journal.decisions if each.stream == stream]
        closes = [each.close_ms for each in decided]
        wrong += [f"{stream}: candle closed {each} decided" for each in twice(closes)]
        wrong += [f"{stream}: candle closed {each} missed" for each in sorted(set(wanted) - set(closes))]
        wrong += [f"{stream}: candle closed {each} is not in the file" for each in sorted(set(closes) - set(wanted))]
        wrong += [f"{stream}: {b} came after {a}" for a, b in pairwise(closes) if b < a]
        late += sum(each.late for each in decided)
        ages += [each.told_ms - each.close_ms for each in decided]
    if not streams:
        wrong.append("no decision on any candle")
    last = q.rows[-1].open_ms
    wrong += [f"stream {name} stands at {at}, the file ends at {last}" for name, at in q.journal.streams.items()
              if at != last]
    ages.sort()
    real = [age / q.speed for age in ages] or [0.0]
    figures = (f"late {late}; age when decided, real ms: median {real[len(real) // 2]:.1f}, "
               f"p99 {real[len(real) * 99 // 100]:.1f}, max {real[-1]:.1f}")
    return Finding("candles decided once, in order", len(q.journal.decisions), wrong, figures)


def intents_fit_candles(q: Question) -> Finding:
    """Every stop that an Enter asked for is one fixed fraction below a close of the file: the right candle was seen."""
    closes = {row.open_ms + MINUTE_MS: row.prices[3] for row in q.rows}
    wrong: list[str] = []
    ratios: Counter[Decimal] = Counter()
    for intent in q.journal.intents:
        stop = intent.payload.get("stop_loss")
        if intent.kind != "enter" or stop is None or intent.decision is None or "|candle|" not in intent.decision:
            continue
        close = closes.get(int(intent.decision.rpartition("|")[2]))
        if close is None:
            wrong.append(f"intent {intent.intent_id} answers no candle of the file")
            continue
        ratios[round(Decimal(stop) / close, 9)] += 1
    if len(ratios) > 1:
        wrong.append(f"stops stand at {len(ratios)} different fractions of the file's closes: {ratios.most_common(3)}")
    return Finding("intents fit the file's closes", ratios.total(), wrong)


def orders_both_ways(q: Question) -> Finding:
    """Every order of ours on the venue is in the journal with the same terms and state, and the other way round."""
    journal = {order.client_order_id: order for order in q.journal.orders}
    accepted = {order.client_order_id for order in q.ours}
    wrong = [f"{order.client_order_id} is unknown to the journal" for order in q.ours
             if order.client_order_id not in journal]
    wrong += [f"{order.client_order_id} on the venue carries no prefix of ours" for order in q.venue.orders
              if order not in q.ours]
    for order in q.journal.orders:
        if order.client_order_id not in accepted and order.status not in ("REJECTED", "DENIED"):
            wrong.append(f"{order.client_order_id} is {order.status} in the journal, unknown to the venue")
        if order.status in ("INITIALIZED", "SUBMITTED", "IN_DOUBT"):
            wrong.append(f"{order.client_order_id} ended {order.status}")
    for there in q.ours:
        here = journal.get(there.client_order_id)
        if here is not None:
            wrong += [f"{there.client_order_id}: {text}" for text in _terms(there, here, q.venue.name)]
    states = Counter(order.status for order in q.journal.orders)
    return Finding("orders, both ways", len(q.ours), wrong, ", ".join(f"{n} {s}" for s, n in states.most_common()))


def _terms(venue: VenueOrder, journal: JournalOrder, name: str) -> Iterable[str]:
    if journal.status not in TOLD_AS.get(name, {}).get(venue.status, STATUS[venue.status]):
        yield f"{venue.status} on the venue, {journal.status} in the journal"
    if (venue.symbol, venue.side, venue.kind) != (journal.symbol, journal.side, journal.kind):
        yield f"{venue.symbol} {venue.side} {venue.kind} is {journal.symbol} {journal.side} {journal.kind} there"
    if journal.venue_order_id not in (None, venue.venue_order_id):
        yield f"venue order id {venue.venue_order_id}, in the journal {journal.venue_order_id}"
    if venue.trigger_price != journal.trigger_price:
        yield f"trigger price {venue.trigger_price}, in the journal {journal.trigger_price}"
    if venue.filled != journal.booked and venue.kind not in ("STOP_MARKET", "TAKE_PROFIT_MARKET"):
        yield f"{venue.filled} filled, {journal.booked} booked in the journal"


def no_order_doubled(q: Question) -> Finding:
    """No client order id was accepted twice, no intent got a second entry, no exit lay over another."""
    wrong = [f"{name} was accepted {times} times" for name, times in q.venue.creates if times > 1]
    wrong += [f"{each} in the venue's books" for each in twice(order.client_order_id for order in q.ours)]
    legs = {order.client_order_id: order for order in q.journal.orders}
    entries = [legs[order.client_order_id].intent_id for order in q.ours
               if order.client_order_id in legs and legs[order.client_order_id].purpose == "entry"]
    wrong += [f"intent {each} was given an entry" for each in twice(entries)]
    accepted = {order.client_order_id for order in q.ours}
    candles = Counter((order.symbol, order.created_ms // MINUTE_MS) for order in q.ours
                      if order.client_order_id.endswith("e"))
    wrong += [f"{count} entries in the minute {minute} of {symbol}" for (symbol, minute), count in candles.items()
              if count > 1]
    exits = Counter(order.intent_id for order in q.journal.orders
                    if order.purpose == "exit" and order.intent_id and order.client_order_id in accepted)
    again = sum(count - 1 for count in exits.values())
    return Finding("no order doubled", len(entries), wrong, f"exits sent again for what was left: {again}")


def fills_both_ways(q: Question) -> Finding:
    """Fills by (symbol, trade id), with price, quantity, fee, profit, order and time equal."""
    venue = {(fill.symbol, fill.trade_id): fill for fill in q.venue.fills}
    journal = {(fill.symbol, fill.trade_id): fill for fill in q.journal.fills}
    wrong = [f"fill {each} in the journal" for each in twice((f.symbol, f.trade_id) for f in q.journal.fills)]
    wrong += [f"fill {key} is lost: the journal has it not" for key in venue if key not in journal]
    wrong += [f"fill {key} is not the venue's" for key in journal if key not in venue]
    wrong += [f"fill {key}: venue {fill}, journal {journal[key]}" for key, fill in venue.items()
              if key in journal and journal[key] != fill]
    known = {order.client_order_id for order in q.journal.orders}
    wrong += [f"fill {key} belongs to no order of the journal" for key, fill in journal.items()
              if fill.client_order_id not in known and (fill.client_order_id or fill.trade_id not in q.venue.of_levels)]
    return Finding("fills, both ways", len(venue), wrong)


def positions_equal(q: Question) -> Finding:
    """Positions equal, and equal to the sum of the fills; none ever changed its sign in one step."""
    wrong = []
    sums: Counter[str] = Counter()
    total: dict[str, Decimal] = {}
    for fill in q.journal.fills:
        sums[fill.symbol] += 1
        total[fill.symbol] = total.get(fill.symbol, ZERO) + fill.quantity * (1 if fill.side == "BUY" else -1)
    for symbol in sorted(set(q.venue.positions) | set(q.journal.positions) | set(total)):
        here = (q.venue.positions.get(symbol, ZERO), q.journal.positions.get(symbol, ZERO), total.get(symbol, ZERO))
        if len(set(here)) > 1:
            wrong.append(f"{symbol}: venue {here[0]}, journal {here[1]}, sum of its fills {here[2]}")
    held: dict[str, Decimal] = {}
    for change in q.venue.holdings:
        if held.get(change.symbol, ZERO) * change.quantity < 0:
            wrong.append(f"{change.symbol} turned from {held[change.symbol]} to {change.quantity} at {change.time_ms}")
        held[change.symbol] = change.quantity
    trips = sum(not change.quantity for change in q.venue.holdings)
    return Finding("positions equal", len(q.venue.holdings), wrong, f"round trips {trips}, open at the end "
                   + (", ".join(f"{s} {n}" for s, n in q.venue.positions.items() if n) or "none"))


def wallet_as_expected(q: Question) -> Finding:
    """The wallet is the start plus everything booked, on both sides."""
    booked = sum((amount for _, amount in q.venue.income), ZERO)
    realized = sum((fill.realized for fill in q.journal.fills), ZERO)
    readings = {
        "the venue": q.venue.wallet,
        "start and the venue's bookings": q.venue.start_balance + booked,
        "the journal's last reading": q.journal.wallet,
        "start and the journal's bookings": q.venue.start_balance + realized + q.journal.ledger_sum,
    }
    wrong = [f"{name}: {value}, the venue: {q.venue.wallet}" for name, value in readings.items()
             if value is None or abs(value - q.venue.wallet) > Decimal("1e-8")]
    return Finding("wallet as expected", len(q.venue.income), wrong,
                   f"{q.venue.start_balance} -> {q.venue.wallet} USDT")


def hold_period_kept(q: Question) -> Finding:
    """No entry was accepted within the hold period after a position became zero, by the venue's own times."""
    hold_ms = q.hold_candles * MINUTE_MS
    entries = [order for order in q.ours if order.client_order_id.endswith("e")]
    wrong = []
    nearest: int | None = None
    for order in entries:
        closes = [change.time_ms for change in q.venue.holdings
                  if change.symbol == order.symbol and not change.quantity and change.time_ms <= order.created_ms]
        if not closes:
            continue
        since_ms = order.created_ms - max(closes)
        nearest = since_ms if nearest is None else min(nearest, since_ms)
        if since_ms < hold_ms:
            wrong.append(f"{order.client_order_id} was accepted {since_ms} ms after a close, hold is {hold_ms} ms")
    return Finding("hold period kept", len(entries), wrong, f"nearest entry {nearest} ms after a close")


def protected(q: Question) -> Finding:
    """How long the venue held a position of ours without a live stop, in real seconds at the run's speed."""
    wrong = []
    worst = first_worst = 0.0
    spans = list(_spans(q.venue))
    for symbol, opened_ms, closed_ms in spans:
        stops = sorted((order.created_ms, order.end_ms or closed_ms) for order in _closing(q)
                       if order.symbol == symbol and order.kind == "STOP_MARKET" and order.created_ms < closed_ms
                       and (order.end_ms is None or order.end_ms > opened_ms))
        at_ms, gaps = opened_ms, []
        for start_ms, end_ms in stops:
            gaps.append(max(0, start_ms - at_ms))
            at_ms = max(at_ms, end_ms)
        gaps.append(max(0, closed_ms - at_ms))
        seconds = [gap / 1000 / q.speed for gap in gaps]
        first_worst, worst = max(first_worst, seconds[0]), max(worst, *seconds)
        if max(seconds) > UNPROTECTED_LIMIT_S:
            wrong.append(f"{symbol} opened {opened_ms}: {max(seconds):.2f} s without a live stop")
    figures = f"max until the first stop {first_worst * 1000:.0f} ms, max at any time {worst * 1000:.0f} ms (real)"
    return Finding("positions protected", len(spans), wrong, figures)


def _closing(q: Question) -> Iterable[VenueOrder | Level]:
    """What may be a stop: our orders, and what positions carry."""
    yield from q.ours
    yield from q.venue.levels


def _spans(venue: VenueSide) -> Iterable[tuple[str, int, int]]:
    """(symbol, opened, closed) of every position; one that is open still ends with the last fact of the ledger."""
    last_ms = max((open_ms for _, open_ms, _ in venue.candles), default=0) + MINUTE_MS
    since: dict[str, int] = {}
    for change in venue.holdings:
        if change.quantity and change.symbol not in since:
            since[change.symbol] = change.time_ms
        elif not change.quantity:
            yield change.symbol, since.pop(change.symbol), change.time_ms
    for symbol, opened_ms in since.items():
        yield symbol, opened_ms, max(last_ms, opened_ms)


def no_leftovers(q: Question) -> Finding:
    """No live order of ours without a position, in any book; a stop with each that is open."""
    live = [order for order in q.ours if order.end_ms is None]
    levels = [level for level in q.venue.levels if level.end_ms is None]
    wrong = [f"{order.client_order_id} ({order.kind} {order.status}) was left past flat" for order in live
             if not q.venue.positions.get(order.symbol)]
    wrong += [f"{level.symbol} is flat and carries a {level.kind}" for level in levels
              if not q.venue.positions.get(level.symbol)]
    stopped = {each.symbol for each in _closing(q) if each.kind == "STOP_MARKET" and each.end_ms is None}
    wrong += [f"{symbol} {held} is open at the end without a stop" for symbol, held in q.venue.positions.items()
              if held and symbol not in stopped]
    return Finding("no leftovers", len(live) + len(levels), wrong)


def chain_complete(q: Question) -> Finding:
    """Every intent has one outcome and its decision; every order has its intent."""
    known = {intent.intent_id for intent in q.journal.intents}
    wrong = [f"intent {each}" for each in twice(intent.intent_id for intent in q.journal.intents)]
    for intent in q.journal.intents:
        if intent.outcome is None:
            wrong.append(f"intent {intent.intent_id} has no outcome")
        if intent.decision is not None and intent.decision not in q.journal.decision_keys:
            wrong.append(f"intent {intent.intent_id} names a decision that is not there")
    wrong += [f"order {order.client_order_id} names intent {order.intent_id}, which is not there"
              for order in q.journal.orders if order.intent_id is not None and order.intent_id not in known]
    entered = {order.intent_id for order in q.journal.orders if order.purpose == "entry"}
    wrong += [f"intent {intent.intent_id} says ordered, no entry names it" for intent in q.journal.intents
              if intent.kind == "enter" and intent.outcome == "ordered" and intent.intent_id not in entered]
    outcomes = Counter(" ".join(filter(None, (i.kind, i.outcome, i.reason if i.outcome == "denied" else "")))
                       for i in q.journal.intents)
    return Finding("intents have one outcome", len(q.journal.intents), wrong,
                   ", ".join(f"{count} {text}" for text, count in outcomes.most_common()))


def file_sound(q: Question) -> Finding:
    """The journal file itself is whole."""
    return Finding("journal is whole", q.journal.boots, [] if q.journal.integrity == "ok" else [q.journal.integrity],
                   f"boots {q.journal.boots}")


def incidents(q: Question, tolerated: frozenset[str]) -> Finding:
    """What the daemon itself found wrong."""
    wrong = [f"{kind} ({severity}): {detail}" for kind, severity, detail in q.journal.incidents
             if kind not in tolerated]
    counts = Counter(kind for kind, _, _ in q.journal.incidents)
    return Finding("incidents", len(q.journal.incidents), wrong, ", ".join(f"{n} {k}" for k, n in counts.items()))


CHECKS: tuple[Callable[[Question], Finding], ...] = (
    candles_offered, candles_decided, intents_fit_candles, orders_both_ways, no_order_doubled, fills_both_ways,
    positions_equal, wallet_as_expected, hold_period_kept, protected, no_leftovers, chain_complete, file_sound,
)


def compare(ledger: Path, journal: Path, candles: Path, *, history: int = 300, prefix: str = "td",
            hold_candles: int = 3, speed: float = 600.0, tolerated: frozenset[str] = frozenset()) -> list[Finding]:
    """All findings; `history` lines of the file were past before the run, `tolerated` incident kinds are no fault."""
    question = Question(read_venue(ledger), read_journal(journal), read_candles(candles), history, prefix,
                        hold_candles, speed)
    return [*(check(question) for check in CHECKS), incidents(question, tolerated)]


def report(findings: list[Finding]) -> bool:
    """Print them; True when nothing is wrong."""
    for finding in findings:
        verdict = "ok" if not finding.wrong else f"{len(finding.wrong)} WRONG"
        print(f"  {finding.name:<32}{finding.looked_at:>7}  {verdict:<10}{finding.figures}")
        for text in finding.wrong[:SHOWN]:
            print(f"      {text}")
        if len(finding.wrong) > SHOWN:
            print(f"      and {len(finding.wrong) - SHOWN} more")
    return not any(finding.wrong for finding in findings)


def main(arguments: list[str] | None = None) -> int:
    """Compare two files; 1 on any difference."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.partition("\n")[0])
    parser.add_argument("--ledger", type=Path, required=True, help="the venue's ledger.db")
    parser.add_argument("--journal", type=Path, required=True, help="the daemon's journal")
    parser.add_argument("--candles", type=Path, required=True, help="the file that the venue was given")
    parser.add_argument("--history", type=int, default=300, help="lines of it that were past before the start")
    parser.add_argument("--hold-candles", type=int, default=3)
    parser.add_argument("--speed", type=float, default=600.0)
    parser.add_argument("--prefix", default="td")
    parser.add_argument("--tolerate", action="append", default=[], metavar="KIND", help="an incident that is no fault")
    args = parser.parse_args(arguments)
    found = compare(args.ledger, args.journal, args.candles, history=args.history, prefix=args.prefix,
                    hold_candles=args.hold_candles, speed=args.speed, tolerated=frozenset(args.tolerate))
    return 0 if report(found) else 1


if __name__ == "__main__":
    sys.exit(main())
