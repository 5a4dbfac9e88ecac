"""Judges a world by the venue's ledger, the journal file and the wire. Shares no code with what it judges."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from tradingd.simulation.dialects import Dialect
from tradingd.simulation.evidence import Evidence, letter_of, market_id
from tradingd.simulation.loop import SECOND_US
from tradingd.simulation.oracle_time import check_hold, check_leftovers, check_protection, check_readings

_MONEY = Decimal("0.00000001")
MAX_UNANSWERED_PER_SECOND = 30


class Violation(msgspec.Struct, frozen=True):
    """One broken invariant."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


def judge(evidence: Evidence, *, is_quiet: bool = True) -> list[Violation]:
    """All violations; `is_quiet`: the world was given time to heal, and nothing is under way any more."""
    checks = {
        "P1": check_once(evidence),
        "P2": check_written_ahead(evidence),
        "P4": check_hold(evidence),
        "P5": check_protection(evidence),
        "P6": check_filters(evidence),
        "P7": check_leftovers(evidence, is_quiet=is_quiet),
        "P9": check_reducing(evidence),
        "P10/P17": check_readings(evidence),
        "P13": check_ban(evidence),
        "hammering": check_hammering(evidence),
        "I9": check_order_steps(evidence),
        "I15": check_foreign(evidence),
        "I18": check_candles(evidence),
        "limits": check_limits(evidence),
    }
    if is_quiet:
        checks |= {
            "P8": check_fills(evidence),
            "I5": check_positions(evidence),
            "I21": check_chains(evidence),
            "I24": check_unknown(evidence),
        }
    return [Violation(name, detail) for name, found in checks.items() for detail in found]


# --- orders -----------------------------------------------------------------------------------------------------------


def check_once(evidence: Evidence) -> Iterator[str]:
    """P1: at most one accepted order per leg, and one accepted entry per intent."""
    own = [order for order in evidence.orders if order["parent_id"] == 0] + evidence.algos
    for key, count in Counter(order["client_order_id"] for order in own).items():
        if count > 1 and letter_of(key):
            yield f"{key} was accepted {count} times"
    intents = {row["client_order_id"]: row["intent_id"] for row in evidence.j_orders}
    accepted = Counter(intents.get(order["client_order_id"]) for order in evidence.entries())
    for intent, count in accepted.items():
        if intent is not None and count > 1:
            yield f"intent {intent} has {count} accepted entries"


def check_written_ahead(evidence: Evidence) -> Iterator[str]:
    """P2: in the journal before the request left."""
    for request in evidence.requests:
        if request.is_create and request.journalled is False:
            yield f"{request.client_order_id} left at {evidence.at_ms(request.sent_us)} before it was in the journal"
    written = {row["client_order_id"] for row in evidence.j_orders}
    for order in [*evidence.orders, *evidence.algos]:
        if letter_of(order["client_order_id"]) and order["client_order_id"] not in written:
            yield f"{order['client_order_id']} is at the venue and not in the journal"


def check_filters(evidence: Evidence) -> Iterator[str]:
    """P6: by the venue's own refusals, and by arithmetic on every request that arrived."""
    dialect = evidence.dialect
    for row in evidence.arrivals:
        if f"{row['method']} {row['path']}" in dialect.creates and row["code"] in dialect.filter_codes:
            yield f"{row['client_order_id']} was refused with {row['code']}: {row['params']}"
    for request in evidence.requests:
        if (request.is_create or request.is_level) and request.arrived_us is not None:
            yield from _against_filters(dialect, request.params, request.client_order_id or "levels")


def _against_filters(dialect: Dialect, params: dict[str, str], key: str) -> Iterator[str]:
    rules = dialect.instruments[params["symbol"]]
    for name in dialect.prices:
        if name in params and Decimal(params[name]) % rules.tick_size:
            yield f"{key}: {name} {params[name]} is off the tick {rules.tick_size}"
    if dialect.quantity not in params:
        return
    quantity = Decimal(params[dialect.quantity])
    if quantity % rules.lot_size or quantity < rules.min_quantity:
        yield f"{key}: quantity {quantity} is off the lot {rules.lot_size}"
    name, market = dialect.kind
    if quantity > (rules.max_market_quantity if params[name] == market else rules.max_quantity):
        yield f"{key}: quantity {quantity} is above the maximum"


def check_reducing(evidence: Evidence) -> Iterator[str]:
    """P9: closing orders only reduce, and a position never changes its sign in one step."""
    for request in evidence.requests:
        if not request.is_create or letter_of(request.client_order_id) in ("", "e"):
            continue
        params = request.params
        if not any(params.get(name) == "true" for name in evidence.dialect.closing):
            yield f"{request.client_order_id} could open a position: {params}"
    before: dict[str, Decimal] = defaultdict(Decimal)
    for row in evidence.changes:
        after = Decimal(row["quantity"])
        if before[row["symbol"]] * after < 0:
            yield f"{row['symbol']} went from {before[row['symbol']]} to {after} at {row['time_ms']}"
        before[row["symbol"]] = after


def check_limits(evidence: Evidence) -> Iterator[str]:
    """The user's own limits: the notional of an entry, its stop; and no entry that the account cannot carry."""
    wanted = {row["client_order_id"]: row["stop_loss"] for row in evidence.j_orders}
    for order in evidence.entries():
        key = order["client_order_id"]
        price = Decimal(order["price"]) or Decimal(order["quote"]) / (Decimal(order["filled"]) or 1)
        notional = Decimal(order["quantity"]) * price
        if notional > evidence.limits.max_notional_usdt * Decimal("1.02"):
            yield f"{key}: {notional:.0f} USDT are above risk.max_position_notional_usdt"
        if key in wanted and wanted[key] is None:
            yield f"{key} was sent without a stop loss"
    for row in evidence.arrivals:
        if row["code"] in evidence.dialect.margin_codes and letter_of(row["client_order_id"]) == "e":
            yield f"{row['client_order_id']}: the account could not carry it ({row['params']})"


def check_order_steps(evidence: Evidence) -> Iterator[str]:
    """I9: the steps of an order form a chain that ends in its status; nothing comes back from the dead."""
    status: dict[str, str] = {}
    for row in evidence.j_events:
        key = row["client_order_id"]
        known = status.get(key)
        if known is not None and known != row["before"]:
            yield f"{key}: step {row['event']} begins at {row['before']}, the order was {known}"
        if row["before"] == "REJECTED" and row["after"] != "REJECTED":
            yield f"{key} came back: {row['event']} after REJECTED"
        status[key] = row["after"]
    for row in evidence.j_orders:
        if status.get(row["client_order_id"], row["status"]) != row["status"]:
            yield f"{row['client_order_id']} is {row['status']}, its last step says {status[row['client_order_id']]}"


def check_foreign(evidence: Evidence) -> Iterator[str]:
    """I15: what is not ours is never cancelled."""
    dialect = evidence.dialect
    ours = {str(order["order_id"]) for order in evidence.orders if letter_of(order["client_order_id"])}
    ours |= {str(order["conditional_id"]) for order in evidence.algos if letter_of(order["client_order_id"])}
    for request in evidence.requests:
        if request.endpoint in dialect.cancels_all:
            yield f"a cancel of whatever there is: {request.params}"
        if request.endpoint not in dialect.cancels:
            continue
        params = request.params
        key, number = (next((params[name] for name in names if params.get(name)), None) for names in dialect.named)
        if not letter_of(key) and (number is None or dialect.order_number(number) not in ours):
            yield f"a cancel of what is not ours: {params}"


def check_ban(evidence: Evidence) -> Iterator[str]:
    """P13: after a ban was read, no request until it ends, whatever runs meanwhile."""
    bans = [each for each in evidence.requests if each.ban_ends_us is not None and each.answered_us is not None]
    for ban in bans:
        for each in evidence.requests:
            if (ban.answered_us or 0) < each.sent_us < (ban.ban_ends_us or 0):
                yield f"{each.method} {each.path} left at {each.sent_us} µs, banned until {ban.ban_ends_us} µs"


def check_hammering(evidence: Evidence) -> Iterator[str]:
    """A venue that does not answer is not asked over and over: backoff with a cap."""
    unanswered = [each.sent_us for each in evidence.requests if each.fate in ("refuse", "lose_request")]
    for index in range(len(unanswered) - MAX_UNANSWERED_PER_SECOND):
        first, last = unanswered[index], unanswered[index + MAX_UNANSWERED_PER_SECOND]
        if last - first < SECOND_US:
            from_ms = evidence.at_ms(first)
            yield f"more than {MAX_UNANSWERED_PER_SECOND} requests within a second of {from_ms}, unanswered all"
            return


# --- what must agree when all is quiet --------------------------------------------------------------------------------


def check_fills(evidence: Evidence) -> Iterator[str]:
    """P8: the same fills, by symbol and trade id, with the same numbers."""
    venue = {(row["symbol"], evidence.dialect.trade_id(row["trade_id"])): row for row in evidence.fills}
    journal: dict[tuple[str, str], dict[str, Any]] = {}
    for row in evidence.j_fills:
        key = (market_id(row["symbol"]), row["trade_id"])
        if key in journal:
            yield f"fill {key} is twice in the journal"
        journal[key] = row
    for key in venue.keys() - journal.keys():
        yield f"fill {key} of {venue[key]['client_order_id']} is missing in the journal"
    for key in journal.keys() - venue.keys():
        yield f"fill {key} never happened"
    for key in venue.keys() & journal.keys():
        yield from _same_fill(key, venue[key], journal[key])


def _same_fill(key: tuple[str, str], theirs: dict[str, Any], ours: dict[str, Any]) -> Iterator[str]:
    for name, mine in (("price", "price"), ("quantity", "quantity"), ("fee", "fee"), ("realized_pnl", "realized_pnl")):
        if ours[mine] is None or abs(Decimal(theirs[name]) - Decimal(repr(ours[mine]))) > _MONEY:
            yield f"fill {key}: {name} is {theirs[name]}, the journal has {ours[mine]}"
    if theirs["side"].lower() != ours["side"] or theirs["time_ms"] != ours["time_ms"]:
        yield f"fill {key}: side or time differ"
    if letter_of(theirs["client_order_id"]) and ours["client_order_id"] != theirs["client_order_id"]:
        yield f"fill {key} belongs to {theirs['client_order_id']}, the journal has {ours['client_order_id']}"


def check_positions(evidence: Evidence) -> Iterator[str]:
    """I5: the same positions, and each the sum of its fills."""
    journal = {market_id(row["symbol"]): Decimal(repr(row["quantity"])) for row in evidence.j_positions}
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in evidence.j_fills:
        sums[market_id(row["symbol"])] += Decimal(repr(row["quantity"])) * (1 if row["side"] == "buy" else -1)
    for row in evidence.positions:
        symbol, truth = row["symbol"], Decimal(row["quantity"])
        if journal.get(symbol, Decimal(0)) != truth:
            yield f"{symbol}: the venue has {truth}, the journal {journal.get(symbol, 0)}"
        if sums[symbol] != truth:
            yield f"{symbol}: the journal's fills sum up to {sums[symbol]}, the venue has {truth}"


def check_unknown(evidence: Evidence) -> Iterator[str]:
    """I24: no order whose fate is unknown, none believed open that has ended, none believed ended that is open."""
    open_ids = {order["client_order_id"] for order in evidence.orders if order["status"] in ("NEW", "PARTIALLY_FILLED")}
    open_ids |= {order["client_order_id"] for order in evidence.algos if order["status"] in ("NEW", "TRIGGERING")}
    for row in evidence.j_orders:
        key, status = row["client_order_id"], row["status"]
        if status in ("SUBMITTED", "IN_DOUBT", "INITIALIZED"):
            yield f"{key} is still {status}"
        elif status in ("ACCEPTED", "PARTIALLY_FILLED", "TRIGGERED") and key not in open_ids:
            yield f"{key} is {status} in the journal and ended at the venue"
        elif status in ("FILLED", "CANCELED", "EXPIRED", "REJECTED") and key in open_ids:
            yield f"{key} is {status} in the journal and open at the venue"


def check_chains(evidence: Evidence) -> Iterator[str]:
    """I21: every intent has one outcome with a reason, every order its chain back to a decision."""
    decisions = {row["key"] for row in evidence.j_decisions}
    intents = {row["intent_id"]: row for row in evidence.j_intents}
    orders = defaultdict(list)
    for row in evidence.j_orders:
        orders[row["intent_id"]].append(row)
    for row in evidence.j_intents:
        if row["outcome"] is None:
            yield f"intent {row['intent_id']} has no outcome"
        elif row["outcome"] in ("denied", "failed") and not row["reason"]:
            yield f"intent {row['intent_id']} is {row['outcome']} without a reason"
        elif row["outcome"] == "ordered" and not (orders[row["intent_id"]] or _joined(evidence, row)):
            yield f"intent {row['intent_id']} is ordered and has no order"
        if row["decision"] not in decisions:
            yield f"intent {row['intent_id']} has no decision"
    begun = {row["client_order_id"] for row in evidence.j_events if row["event"] == "submit"}
    for row in evidence.j_orders:
        key = row["client_order_id"]
        if letter_of(key) == "e" and row["intent_id"] not in intents:
            yield f"entry {key} has no intent"
        if key not in begun:
            yield f"{key} has no first step"
    for fill in evidence.j_fills:
        if letter_of(fill["client_order_id"]) and fill["client_order_id"] not in begun:
            yield f"fill {fill['trade_id']} has no order"


def _joined(evidence: Evidence, intent: dict[str, Any]) -> bool:
    """Whether it names the exit order that another intent of the instrument became, and it as well."""
    key = intent["detail"].removeprefix("joined: ")
    return any(row["client_order_id"] == key and row["symbol"] == intent["symbol"] for row in evidence.j_orders)


def check_candles(evidence: Evidence) -> Iterator[str]:
    """I18: each candle decided once, in order, without a hole."""
    step_ms = evidence.limits.timeframe_ms
    last: dict[tuple[str, str], int] = {}
    for row in evidence.j_decisions:
        if row["cause"] != "candle":
            continue
        key = (row["strategy"], row["symbol"])
        close_ms = int(row["key"].rpartition("|")[2])
        if key in last and close_ms != last[key] + step_ms:
            yield f"{key}: the candle of {close_ms} follows the one of {last[key]}"
        last[key] = close_ms
