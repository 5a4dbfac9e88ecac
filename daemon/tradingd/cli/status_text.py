"""The daemon's answers for people: what is wrong first, then what is held, then the rest."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tradingd.cli.streams import Paint
from tradingd.domain.numbers import plain_text

_STATE_STYLES = {"ready": Paint.good, "starting": Paint.odd, "degraded": Paint.odd}
_SEVERITY_STYLES = {"critical": Paint.bad, "warning": Paint.odd}
_OLD_S = 15.0


def safe(value: object) -> str:
    """`value` as text that cannot move a cursor; "-" for nothing."""
    text = "-" if value is None or value == "" else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def number(value: object) -> str:
    """Exact decimal text, cut to 8 decimals where an average has 20 of them."""
    try:
        exact = Decimal(str(value))
        rounded = round(exact, 8) if abs(exact) < 1_000_000_000_000 else exact
    except ArithmeticError:
        return safe(value)
    return plain_text(rounded) if exact.is_finite() else safe(value)


def status(result: Mapping[str, Any], paint: Paint) -> str:
    """The answer to `status`, in sections; a section that has nothing to say says so in one word."""
    lines = [
        f"{paint.bold(safe(result.get('name')))}  mode {safe(result.get('mode'))}, "
        f"version {safe(result.get('version'))}, pid {safe(result.get('pid'))}, "
        f"up {duration(result.get('uptime_s'))}{_speed(result)}",
        *_journal(result, paint),
        _entries(result, paint),
    ]
    if exits_only := _exits_only(result):
        lines += _section("exits only", exits_only.items(), lambda row: f"{safe(row[0])}: {safe(row[1])}")
    lines += _section("venues", result.get("venues"), lambda row: _venue(row, paint))
    lines += _section("strategies", result.get("strategies"), lambda row: _strategy(row, paint))
    lines += _section("positions", result.get("positions"), lambda row: _position(row, paint))
    lines += _section("unknown orders", result.get("unknown_orders"), lambda row: _unknown(row, paint))
    ages = result.get("stream_ages_s")
    streams = sorted(ages.items()) if isinstance(ages, Mapping) else []
    lines += _section("streams", streams, lambda row: _stream(row, paint))
    lines.append(f"{'equity':<16}{number(result.get('equity_usdt'))} USDT")
    lines.append(f"{'denied last':<16}{_denied(result.get('denied_last'))}")
    open_count = result.get("incidents_open") or 0
    told = paint.bad(f"{open_count} open, see `tradingd incidents`") if open_count else paint.good("none open")
    lines.append(f"{'incidents':<16}{told}")
    return "\n".join(lines)


def incidents(found: Sequence[Mapping[str, Any]], paint: Paint) -> str:
    """The answer to `incidents`, one per line."""
    if not found:
        return "no incidents"
    lines = []
    for row in found:
        severity = str(row.get("severity"))
        style = _SEVERITY_STYLES.get(severity, Paint.faint)
        where = row.get("instrument") or row.get("venue") or row.get("strategy") or ""
        seen = f"  (seen {time_text(row['acknowledged_ms'])})" if row.get("acknowledged_ms") else ""
        told = safe(where) + "  " if where else ""
        lines.append(
            f"{safe(row.get('incident_id'))}  {time_text(row.get('raised_ms'))}  "
            f"{style(paint, f'{safe(severity):<8}')}  {paint.bold(safe(row.get('kind')))}  "
            f"{told}{safe(row.get('detail'))}{seen}"
        )
    if any(not row.get("acknowledged_ms") for row in found):
        lines.append(paint.faint("acknowledge one with `tradingd incidents ack ID`"))
    return "\n".join(lines)


def outcome(command: str, result: Mapping[str, Any]) -> str:
    """The answer to a command that changes something."""
    done = {
        "pause": "paused: entries are denied, exits and protection go on",
        "resume": f"resumed, and entries are denied still: {safe(result['entries_denied'])}"
        if result.get("entries_denied")
        else "resumed: entries are allowed again",
        "flatten": "flat; entries stay paused until `tradingd resume`"
        if result.get("flat")
        else "not flat yet: the exits go on being tried, see `tradingd status`",
        "incidents_ack": "acknowledged",
        "strategies_lift": "lifted: the strategy runs again",
        "stop": "stopping: protection stays on the venue",
    }.get(command, "done")
    told = ("flat", "paused", "halted", "stopping", "state", "entries_denied")
    rest = "".join(
        f"\n  {safe(name).replace('_', ' ')}: {safe(_flat(value))}"
        for name, value in result.items()
        if name not in told and value is not None
    )
    return done + rest


def duration(seconds: object) -> str:
    """Seconds as people say them: 5 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if not isinstance(seconds, int | float):
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if whole < 10 and seconds != whole else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def time_text(time_ms: object) -> str:
    """A time in ms UTC, to the second."""
    if not isinstance(time_ms, int):
        return "-"
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def _speed(result: Mapping[str, Any]) -> str:
    speed = result.get("speed")
    if not isinstance(speed, int | float) or speed == 1:
        return ""
    return f", {speed:g} times as fast, venue time {time_text(result.get('now_ms'))}"


def _journal(result: Mapping[str, Any], paint: Paint) -> list[str]:
    """Said first, and only when it is wrong: without its journal the daemon does nothing but protect and close."""
    if result.get("journal_writable") is not False:
        return []
    since = f" for {duration(result.get('journal_unwritable_s'))}"
    return [f"{'journal':<16}{paint.bad('NOT WRITABLE')}{since}: {safe(result.get('journal_reason'))}"]


def _entries(result: Mapping[str, Any], paint: Paint) -> str:
    reasons = []
    if result.get("journal_writable") is False:
        reasons.append("the journal cannot be written; exits and protection go on")
    if result.get("stopping"):
        reasons.append("the daemon is stopping")
    if result.get("paused") is not None:
        reasons.append(f"paused ({safe(result['paused'])}), see `tradingd resume`")
    if result.get("halted") is not None:
        reasons.append(f"halted ({safe(result['halted'])})")
    if result.get("entries_allowed") and not reasons:
        rows = result.get("venues")
        states = {safe(row.get("venue")): safe(row.get("state")) for row in (rows if isinstance(rows, list) else [])}
        closed = ", ".join(f"{venue} ({state})" for venue, state in states.items() if state != "ready")
        but = ", but not on these" if _exits_only(result) else ""
        if not closed:
            return f"{'entries':<16}{paint.good('allowed')}{but}"
        ready = ", ".join(venue for venue, state in states.items() if state == "ready")
        return f"{'entries':<16}{paint.good('allowed')} on {ready}; {paint.bad('denied')} on {closed}{but}"
    return f"{'entries':<16}{paint.bad('denied')}: {'; '.join(reasons) or 'no venue is ready'}"


def _exits_only(result: Mapping[str, Any]) -> dict[str, str]:
    """What takes only exits, of all venues."""
    rows = result.get("venues")
    found = [row.get("exits_only") for row in (rows if isinstance(rows, list) else []) if isinstance(row, Mapping)]
    return {name: why for each in found if isinstance(each, Mapping) for name, why in each.items()}


def _section(title: str, rows: Any, show: Any) -> list[str]:
    items = list(rows) if isinstance(rows, Iterable) else []
    if not items:
        return [f"{title:<16}none"]
    return [f"{title if number == 0 else '':<16}{show(row)}" for number, row in enumerate(items)]


def _venue(row: Mapping[str, Any], paint: Paint) -> str:
    state = safe(row.get("state"))
    style = _STATE_STYLES.get(state, Paint.bad)
    reason = f" ({_brief(safe(row['reason']))})" if row.get("reason") and state != "ready" else ""
    return (
        f"{safe(row.get('venue')):<10}{style(paint, state)}{reason}, equity {number(row.get('equity_usdt'))} USDT, "
        f"available {number(row.get('available_usdt'))} USDT"
    )


def _brief(reason: str) -> str:
    """What failed with a host that does not answer is of no interest: everything does."""
    return reason.rpartition(": ")[2] if reason.endswith(" does not answer") else reason


def _strategy(row: Mapping[str, Any], paint: Paint) -> str:
    state = safe(row.get("state"))
    name = f"{safe(row.get('strategy')):<10}"
    if state == "quarantined":
        return f"{name}{paint.bad(state)}: {safe(row.get('reason'))}"
    return f"{name}{state} ({safe(row.get('plugin'))})"


def _position(row: Mapping[str, Any], paint: Paint) -> str:
    stop, target = row.get("stop_loss"), row.get("take_profit")
    if row.get("covered"):
        protection = paint.good(f"stop {number(stop)}") + (f", take profit {number(target)}" if target else "")
    else:
        protection = paint.bad(f"NOT PROTECTED, stop wanted at {number(stop)}") if stop else paint.odd("no stop")
    return (
        f"{safe(row.get('instrument'))}  {number(row.get('quantity'))} at {number(row.get('entry_price'))}, "
        f"unrealised {number(row.get('unrealized_pnl_usdt'))} USDT, {protection}, by {safe(row.get('strategy'))}"
    )


def _unknown(row: Mapping[str, Any], paint: Paint) -> str:
    return (
        f"{safe(row.get('client_order_id'))}  {safe(row.get('instrument'))}  {paint.odd(safe(row.get('status')))} "
        f"for {duration(row.get('age_s'))}"
    )


def _stream(row: tuple[str, Any], paint: Paint) -> str:
    name, age_s = row
    text = f"last heard {duration(age_s)} ago"
    return f"{safe(name):<44}{paint.odd(text) if isinstance(age_s, int | float) and age_s > _OLD_S else text}"


def _denied(row: Any) -> str:
    if not isinstance(row, Mapping):
        return "nothing"
    return (
        f"{safe(row.get('reason'))}: {safe(row.get('strategy'))} on {safe(row.get('instrument'))} "
        f"at {time_text(row.get('time_ms'))}{', ' + safe(row['detail']) if row.get('detail') else ''}"
    )


def _flat(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "none"
    return str(value)
