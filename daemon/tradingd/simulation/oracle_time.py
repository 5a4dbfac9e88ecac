"""The oracle's scans over time: hold period, protection, leftovers, and what must have been read before an entry."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from tradingd.simulation.evidence import FOREVER_MS, Evidence, Span, letter_of, waits_until
from tradingd.simulation.wire import Exchanged

SLACK_MS = 500
"""A request needs time on its way; the promise is about the daemon."""

TRY_AGAIN_MS = 5_000
CLOSING_MS = 30_000


def check_hold(evidence: Evidence) -> Iterator[str]:
    """P4: no entry accepted, and no position opened, within the hold period after a close by anyone."""
    hold_ms = evidence.limits.hold_ms
    for symbol in evidence.symbols:
        closes = evidence.closes(symbol)
        for order in evidence.entries():
            if order["symbol"] != symbol:
                continue
            last = max((each for each in closes if each <= order["created_ms"]), default=None)
            if last is not None and order["created_ms"] < last + hold_ms:
                yield f"{order['client_order_id']} was accepted {order['created_ms'] - last} ms after a close"


def check_leftovers(evidence: Evidence, *, is_quiet: bool) -> Iterator[str]:
    """P7: no conditional order of ours stands when an entry comes, nor for long after the position has gone."""
    for order in evidence.entries():
        for algo in evidence.algos:
            if algo["symbol"] != order["symbol"] or not letter_of(algo["client_order_id"]):
                continue
            if algo["created_ms"] < order["created_ms"] < waits_until(algo):
                yield f"{algo['client_order_id']} still stood when {order['client_order_id']} was accepted"
    if not is_quiet:
        return
    flat = {row["symbol"] for row in evidence.positions if Decimal(row["quantity"]) == 0}
    for algo in evidence.algos:
        if algo["symbol"] in flat and algo["status"] == "NEW" and letter_of(algo["client_order_id"]):
            yield f"{algo['client_order_id']} stands although {algo['symbol']} is flat"


# --- protection -------------------------------------------------------------------------------------------------------


def _held(evidence: Evidence, symbol: str) -> Iterator[tuple[Span, Decimal]]:
    """The times at which something was held, cut where the quantity changed."""
    rows = [row for row in evidence.changes if row["symbol"] == symbol]
    end_ms = evidence.at_ms(evidence.now_us)
    for index, row in enumerate(rows):
        quantity = Decimal(row["quantity"])
        until = rows[index + 1]["time_ms"] if index + 1 < len(rows) else end_ms
        if quantity != 0 and until > row["time_ms"]:
            yield Span(row["time_ms"], until), quantity


def _covers(algo: dict[str, Any], quantity: Decimal) -> bool:
    closes = algo["side"] * quantity < 0
    return closes and (algo["close_position"] or Decimal(algo["quantity"]) >= abs(quantity))


def naked_spans(evidence: Evidence, symbol: str) -> list[Span]:
    """The times at which a position stood without a live stop over its whole size, joined where they touch."""
    stops = evidence.stops(symbol)
    naked: list[Span] = []
    for held, quantity in _held(evidence, symbol):
        at = held.start_ms
        covers = sorted((span for span, algo in stops if _covers(algo, quantity)), key=lambda span: span.start_ms)
        for cover in covers:
            if cover.start_ms > at:
                _add(naked, Span(at, min(cover.start_ms, held.end_ms)))
            at = max(at, cover.end_ms)
            if at >= held.end_ms:
                break
        if at < held.end_ms:
            _add(naked, Span(at, held.end_ms))
    return naked


def _add(spans: list[Span], span: Span) -> None:
    if span.start_ms >= span.end_ms:
        return
    if spans and spans[-1].end_ms >= span.start_ms:
        spans[-1] = Span(spans[-1].start_ms, max(spans[-1].end_ms, span.end_ms))
    else:
        spans.append(span)


def _without(span: Span, holes: list[Span]) -> list[Span]:
    left = [span]
    for hole in holes:
        left = [
            part
            for each in left
            for part in (
                Span(each.start_ms, min(each.end_ms, hole.start_ms)),
                Span(max(each.start_ms, hole.end_ms), each.end_ms),
            )
            if part.start_ms < part.end_ms
        ]
    return left


def _unable(evidence: Evidence) -> list[Span]:
    """When no daemon could have acted: none lived, the venue had not answered it yet, or the network was down.

    From its first answer on, whatever that was, a run has as long as any other to see what is bare; that the account
    stream was deaf is no excuse, since REST tells.
    """
    holes = [_until_heard(evidence, span) for span in [*evidence.unable, *evidence.banned()]]
    before_us = 0
    for life in evidence.lives:
        reads = (
            each.answered_us
            for each in evidence.requests
            if each.incarnation == life.number and each.status == 200 and each.answered_us is not None
        )
        able_us = min(reads, default=life.ended_us)
        holes.append(Span(evidence.at_ms(before_us), evidence.at_ms(able_us)))
        before_us = life.ended_us
    if evidence.lives and evidence.lives[-1].ended_us < evidence.now_us:
        holes.append(Span(evidence.at_ms(before_us), FOREVER_MS))
    return holes


def _until_heard(evidence: Evidence, span: Span) -> Span:
    """An outage ends for the daemon with the first answer after it; it must have tried by then."""
    heard = (
        evidence.at_ms(each.answered_us)
        for each in evidence.requests
        if each.status == 200 and each.answered_us is not None and evidence.at_ms(each.answered_us) >= span.end_ms
    )
    return Span(span.start_ms, min(next(heard, FOREVER_MS), span.end_ms + TRY_AGAIN_MS))


def check_protection(evidence: Evidence) -> Iterator[str]:
    """P5: naked for at most the limit; past it an exit is on its way, and the position ends soon."""
    holes = _unable(evidence)
    for symbol in evidence.symbols:
        exits = [
            evidence.at_ms(each.sent_us)
            for each in evidence.requests
            if each.is_create and letter_of(each.client_order_id) == "x" and each.params["symbol"] == symbol
        ]
        for naked in naked_spans(evidence, symbol):
            parts = _without(naked, holes)
            able_ms = sum(part.end_ms - part.start_ms for part in parts)
            if able_ms <= evidence.limits.unprotected_ms + SLACK_MS:
                continue
            first_exit = min((each for each in exits if naked.start_ms <= each < naked.end_ms), default=None)
            until = naked.end_ms if first_exit is None else first_exit
            waited = sum(max(0, min(part.end_ms, until) - part.start_ms) for part in parts)
            if waited > evidence.limits.unprotected_ms + SLACK_MS:
                yield f"{symbol} was without a stop for {waited} ms from {naked.start_ms} on, and nothing closed it"
            elif able_ms - waited > CLOSING_MS:
                yield f"{symbol} took {able_ms - waited} ms to close from {until} on"


# --- what must have been read -----------------------------------------------------------------------------------------


def check_readings(evidence: Evidence) -> Iterator[str]:
    """P17, P10: before an entry leaves, a reading newer than the last fill agrees; and both streams stand."""
    dialect = evidence.dialect
    reads = [
        each
        for each in evidence.requests
        if each.endpoint == dialect.positions and each.status == 200 and "symbol" not in each.params
    ]
    for entry in evidence.requests:
        if not entry.is_create or letter_of(entry.client_order_id) != "e":
            continue
        for path in dialect.streams:
            if not _stands(evidence, path, entry):
                yield f"{entry.client_order_id} left at {evidence.at_ms(entry.sent_us)} without a live {path} stream"
        sent_ms = evidence.at_ms(entry.sent_us)
        last = max((row["time_ms"] for row in evidence.changes if row["time_ms"] <= sent_ms - 1_000), default=None)
        if last is None or any(span.start_ms <= last < span.end_ms for span in evidence.deaf):
            continue
        newer = [
            each
            for each in reads
            if each.answered_us is not None
            and evidence.at_ms(each.sent_us) >= last
            and each.answered_us <= entry.sent_us
        ]
        if not any(_agrees(evidence, each, last) for each in newer):
            yield f"{entry.client_order_id} left at {sent_ms}; no reading since the fill of {last} agreed"


def _stands(evidence: Evidence, path: str, entry: Exchanged) -> bool:
    return any(
        life.path.startswith(path)
        and life.incarnation == entry.incarnation
        and life.opened_us < entry.sent_us
        and (life.closed_us is None or life.closed_us >= entry.sent_us)
        for life in evidence.sockets
    )


def _agrees(evidence: Evidence, read: Exchanged, at_ms: int) -> bool:
    """Whether the venue's answer showed the positions as they were after the fill."""
    truth: dict[str, Decimal] = {}
    for row in evidence.changes:
        if row["time_ms"] <= at_ms:
            truth[row["symbol"]] = Decimal(row["quantity"])
    shown = evidence.dialect.shown(msgspec.json.decode(read.answer))
    return shown is not None and all(shown.get(symbol, Decimal(0)) == quantity for symbol, quantity in truth.items())
