"""The whole chain of one thing: event → decision → intent → order → events → fills → protection; and, where nothing was
done, why not. A chain is a list of steps, each a row with the word `step` before its columns.
"""

from tradingd.domain.candles import timeframe_ms
from tradingd.journal.reading import Reader, Value

Step = dict[str, Value]
_OF_POSITION = "f.client_order_id IS NULL AND f.reason IN ('stop_loss', 'take_profit')"


def chain_of(reader: Reader, name: str) -> list[Step]:
    """The chain that `name` belongs to: a client or venue order id, an intent id, a decision key, a
    trade id, or the id of a setting of levels."""
    for find in (_by_order, _by_intent, _by_decision, _by_trade, _by_set):
        steps = find(reader, name)
        if steps:
            return _each_protection_once(steps)
    return []


def _each_protection_once(steps: list[Step]) -> list[Step]:
    """An entry, its stop and its take profit share one row of protection: shown behind the last of them."""
    return [
        step for number, step in enumerate(steps) if step["step"] != "protection" or step not in steps[number + 1 :]
    ]


def chain_at(reader: Reader, strategy: str, venue: str, symbol: str, time_ms: int) -> list[Step]:
    """What a strategy did on an instrument with the candle that holds or ends at `time_ms`; always says something."""
    streams = reader.query("SELECT * FROM streams WHERE venue = ? AND symbol = ?", (venue, symbol)).objects()
    steps: list[Step] = []
    for stream in streams:
        length = timeframe_ms(str(stream["timeframe"]))
        steps += _candle_decision(reader, strategy, f"{symbol}@{venue}", str(stream["timeframe"]), time_ms, length)
    if steps:
        return steps
    return [_nothing(reader, strategy, venue, symbol, time_ms, streams)]


def _candle_decision(
    reader: Reader, strategy: str, instrument: str, timeframe: str, time_ms: int, length: int
) -> list[Step]:
    close_ms = -(-time_ms // length) * length
    found = reader.query(
        "SELECT key FROM decisions WHERE key = ?", (f"{strategy}|candle|{instrument}|{timeframe}|{close_ms}",)
    )
    return [step for row in found.rows for step in _down_from_decision(reader, str(row[0]))]


def _nothing(
    reader: Reader, strategy: str, venue: str, symbol: str, time_ms: int, streams: list[dict[str, Value]]
) -> Step:
    """Why no decision exists there, as far as the journal knows."""
    where = f"{symbol}@{venue}"
    step: Step = {"step": "nothing", "strategy": strategy, "instrument": where, "time_ms": time_ms}
    near = reader.query(
        "SELECT max(time_ms) FILTER (WHERE time_ms <= :at), min(time_ms) FILTER (WHERE time_ms > :at)"
        " FROM decisions WHERE strategy = :strategy AND venue = :venue AND symbol = :symbol",
        {"strategy": strategy, "venue": venue, "symbol": symbol, "at": time_ms},
    ).rows[0]
    step["decision_before_ms"], step["decision_after_ms"] = near
    last_closes = [_whole(row["last_open_ms"]) + timeframe_ms(str(row["timeframe"])) for row in streams]
    if not streams:
        known = reader.query("SELECT DISTINCT symbol || '@' || venue FROM streams").rows
        names = ", ".join(str(row[0]) for row in known) or "no instrument at all"
        step["reason"] = f"no candle of {where} was ever delivered; candles were delivered of {names}"
    elif time_ms > max(last_closes):
        step["last_candle_close_ms"] = max(last_closes)
        step["reason"] = f"no candle of {where} that ends at or after this time has been delivered yet"
    elif near == (None, None):
        names = ", ".join(str(row[0]) for row in reader.query("SELECT DISTINCT strategy FROM decisions").rows) or "none"
        step["reason"] = f"strategy {strategy} was never asked about {where}; strategies that were asked: {names}"
    else:
        flag = reader.query("SELECT value, reason FROM flags WHERE name = ?", (f"quarantined:{strategy}",)).rows
        quarantined = f"; it is quarantined: {flag[0][1]}" if flag and flag[0][0] else ""
        step["reason"] = (
            f"no candle that ends there was given to {strategy}: the daemon was not running, the candle is missing on"
            f" the venue, or the strategy was not running{quarantined}"
        )
        step["boot_started_ms"] = reader.query(
            "SELECT max(started_ms) FROM boots WHERE started_ms <= ?", (time_ms,)
        ).rows[0][0]
    return step


def _by_order(reader: Reader, name: str) -> list[Step]:
    found = reader.query(
        "SELECT intent_id, client_order_id FROM orders WHERE client_order_id = :name"
        " UNION SELECT intent_id, client_order_id FROM orders"
        " WHERE venue_order_id = :name OR child_venue_order_id = :name",
        {"name": name},
    )
    # with an entry its stop and its take profit: they come from one intent, and one ends the other
    chains = {str(intent): _by_intent(reader, str(intent)) for intent, _ in found.rows if intent is not None}
    steps = [step for chain in chains.values() for step in chain]
    for intent, order in found.rows:
        if not chains.get(str(intent)):
            steps += _down_from_order(reader, str(order))
    return steps


def _by_intent(reader: Reader, name: str) -> list[Step]:
    found = _intent_and_above(reader, name)
    return found + _orders_of_intent(reader, name) if found else []


def _by_decision(reader: Reader, name: str) -> list[Step]:
    return _down_from_decision(reader, name)


def _by_trade(reader: Reader, name: str) -> list[Step]:
    steps: list[Step] = []
    for row in reader.query("SELECT * FROM v_fills WHERE trade_id = ?", (name,)).objects():
        chain = _by_order(reader, str(row["client_order_id"])) if row["client_order_id"] is not None else []
        chain = chain or _by_level(reader, name)
        steps += chain or [{"step": "fill", **row}, *_closes(reader, [row])]
    return steps


def _by_level(reader: Reader, trade: str) -> list[Step]:
    """The chain of the intent whose levels a fill executed, if it did."""
    if not reader.has_table("protection_sets"):  # a journal of schema 3: nothing of the kind could be set
        return []
    found = reader.query(
        "SELECT s.intent_id FROM fills f JOIN protection_sets s ON s.venue = f.venue AND s.symbol = f.symbol"
        f" AND s.time_ms <= f.time_ms WHERE f.trade_id = ? AND {_OF_POSITION} ORDER BY s.sequence DESC LIMIT 1",
        (trade,),
    ).rows
    return _by_intent(reader, str(found[0][0])) if found and found[0][0] is not None else []


def _by_set(reader: Reader, name: str) -> list[Step]:
    if not reader.has_table("protection_sets"):
        return []
    found = reader.query("SELECT intent_id FROM protection_sets WHERE set_id = ?", (name,)).rows
    return _by_intent(reader, str(found[0][0])) if found and found[0][0] is not None else []


def _down_from_decision(reader: Reader, key: str) -> list[Step]:
    steps = _decision(reader, key)
    for row in reader.query("SELECT * FROM intents WHERE decision = ? ORDER BY intent_id", (key,)).objects():
        steps.append({"step": "intent", **row})
        steps += _orders_of_intent(reader, str(row["intent_id"]))
    return steps


def _decision(reader: Reader, key: str) -> list[Step]:
    steps: list[Step] = [
        {"step": "decision", **row} for row in reader.query("SELECT * FROM decisions WHERE key = ?", (key,)).objects()
    ]
    notes = reader.query("SELECT * FROM notes WHERE decision = ? ORDER BY sequence", (key,)).objects()
    return steps + [{"step": "note", **row} for row in notes]


def _intent_and_above(reader: Reader, intent: str) -> list[Step]:
    steps: list[Step] = []
    for row in reader.query("SELECT * FROM intents WHERE intent_id = ?", (intent,)).objects():
        if row["decision"] is not None:
            steps += _decision(reader, str(row["decision"]))
        steps.append({"step": "intent", **row})
    return steps


def _orders_of_intent(reader: Reader, intent: str) -> list[Step]:
    steps: list[Step] = []
    found = reader.query(
        "SELECT client_order_id FROM orders WHERE intent_id = ? ORDER BY created_ms, client_order_id", (intent,)
    )
    for (order,) in found.rows:
        steps += _down_from_order(reader, str(order))
    return steps + _sets_of_intent(reader, intent)


def _sets_of_intent(reader: Reader, intent: str) -> list[Step]:
    """Where levels are a state of the position: each setting for the intent, and the fills by which one of them ended
    the position. A fill is of the last setting before it."""
    if not reader.has_table("protection_sets"):
        return []
    sets = reader.query("SELECT * FROM protection_sets WHERE intent_id = ? ORDER BY sequence", (intent,)).objects()
    fills = reader.query(
        f"SELECT f.* FROM fills f WHERE {_OF_POSITION} AND (SELECT s.intent_id FROM protection_sets s"
        " WHERE s.venue = f.venue AND s.symbol = f.symbol AND s.time_ms <= f.time_ms ORDER BY s.sequence DESC LIMIT 1)"
        " = ? ORDER BY f.time_ms, f.sequence",
        (intent,),
    ).objects()
    steps: list[Step] = [{"step": "protection_set", **row} for row in sets]
    return steps + [{"step": "fill", **fill} for fill in fills if sets] + _closes(reader, fills)


def _down_from_order(reader: Reader, order: str) -> list[Step]:
    row = reader.query("SELECT * FROM orders WHERE client_order_id = ?", (order,)).objects()[0]
    steps: list[Step] = [{"step": "order", **row}]
    events = reader.query("SELECT * FROM order_events WHERE client_order_id = ? ORDER BY sequence", (order,)).objects()
    fills = reader.query(
        "SELECT * FROM fills WHERE client_order_id = :client_order_id OR (client_order_id IS NULL AND venue = :venue"
        " AND symbol = :symbol AND venue_order_id IN (:venue_order_id, :child_venue_order_id))"
        " ORDER BY time_ms, sequence",
        row,
    ).objects()
    steps += [{"step": "event", **event} for event in events]
    steps += [{"step": "fill", **fill} for fill in fills]
    protection = reader.query(
        "SELECT * FROM protection WHERE venue = ? AND symbol = ?"
        " AND (? IN (stop_order, take_profit_order) OR intent_id = ?)",
        (row["venue"], row["symbol"], order, row["intent_id"]),
    ).objects()
    return steps + [{"step": "protection", **kept} for kept in protection] + _closes(reader, fills)


def _closes(reader: Reader, fills: list[dict[str, Value]]) -> list[Step]:
    """Whether one of the fills made the position zero."""
    steps: list[Step] = []
    for fill in fills:
        closed = reader.query(
            "SELECT * FROM last_closes WHERE venue = ? AND symbol = ? AND trade_id = ?",
            (fill["venue"], fill["symbol"], fill["trade_id"]),
        )
        steps += [{"step": "close", **row} for row in closed.objects()]
    return steps


def _whole(value: Value) -> int:
    return int(value or 0)
