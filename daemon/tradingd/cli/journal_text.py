"""Rows and chains of the journal, for people."""

from collections.abc import Sequence

from tradingd.cli.status_text import safe, time_text
from tradingd.journal.reading import Rows, Value
from tradingd.journal.why import Step

_WIDEST = 60


def table_text(found: Rows) -> str:
    """A table with a heading, numbers to the right; a last line counts the rows."""
    cells = [[cell_text(value) for value in row] for row in found.rows]
    widths = [
        min(_WIDEST, max([len(name), *(len(row[index]) for row in cells)])) for index, name in enumerate(found.columns)
    ]
    numeric = [
        any(row[index] is not None for row in found.rows)
        and all(row[index] is None or isinstance(row[index], int | float) for row in found.rows)
        for index in range(len(found.columns))
    ]
    lines = [_line(found.columns, widths, numeric), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths, numeric) for row in cells]
    count = len(found.rows)
    return "\n".join([*lines, f"{count} row{'' if count == 1 else 's'}"])


def cell_text(value: Value) -> str:
    """One value: a float with at most 10 significant digits, nothing as `-`."""
    if isinstance(value, float):
        short = format(value, ".10g")
        return short if "e" not in short else format(value, ".10f").rstrip("0").rstrip(".") or "0"
    return safe(value)


def chain_text(steps: Sequence[Step]) -> str:
    """One paragraph per step, the facts that matter first."""
    return "\n".join(_SENTENCES[str(step["step"])](step) for step in steps)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cut = [cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, widths, strict=True)]
    placed = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cut, widths, numeric, strict=True)
    ]
    return "  ".join(placed).rstrip()


def _at(step: Step, name: str) -> str:
    return safe(step.get(f"{name}_iso"))


def _where(step: Step) -> str:
    return f"{safe(step['symbol'])}@{safe(step['venue'])}" if step.get("symbol") else ""


def _listed(step: Step, *names: str) -> str:
    """`name value` of those columns that have one."""
    told = [
        f"{name.replace('_', ' ')} {cell_text(step[name])}" for name in names if step.get(name) not in (None, "", 0)
    ]
    return "".join(f", {part}" for part in told)


def _decision(step: Step) -> str:
    outcomes = {
        "intents": "it gave intents",
        "notes": "it gave no intent, only notes",
        "nothing": "it saw this and returned nothing",
        "error": f"it raised: {safe(step['error'])}",
    }
    told = outcomes.get(str(step["outcome"]), safe(step["outcome"]))
    late = ", the candle was late" if step["late"] else ""
    cause = f"{safe(step['cause'])} {_where(step)}".strip()
    return (
        f"{_at(step, 'time')}  decision   {safe(step['strategy'])} on {cause}: {told}"
        f" ({cell_text(step['duration_us'])} µs{late})\n{'':<26}{safe(step['key'])}"
    )


def _note(step: Step) -> str:
    return f"{'':<24}  note       {_where(step)}: {safe(step['reason'])} {safe(step['values_json'])}"


def _intent(step: Step) -> str:
    outcome = safe(step["outcome"]) if step["outcome"] else "open"
    why = f": {safe(step['reason'])}" if step["reason"] else ""
    detail = f" ({safe(step['detail'])})" if step["detail"] else ""
    return (
        f"{_at(step, 'created')}  intent     {safe(step['kind'])} {_where(step)} → {outcome}{why}{detail}"
        f"\n{'':<26}{safe(step['payload_json'])}"
    )


def _order(step: Step) -> str:
    size = "whole position" if step["quantity"] is None else cell_text(step["quantity"])
    prices = _listed(step, "limit_price", "trigger_price", "average_price", "reference_price", "reject_code", "reason")
    return (
        f"{_at(step, 'created')}  order      {safe(step['client_order_id'])} {safe(step['purpose'])}"
        f" {safe(step['side'])} {safe(step['kind'])} {size} {_where(step)} → {safe(step['status'])}{prices}"
    )


def _event(step: Step) -> str:
    told = _listed(step, "raw_code", "detail")
    moved = f"{safe(step['before'])} → {safe(step['after'])}"
    return f"{_at(step, 'time')}    event    {safe(step['event'])} ({safe(step['source'])}): {moved}{told}"


def _fill(step: Step) -> str:
    return (
        f"{_at(step, 'time') if step.get('time_iso') else safe(step.get('time'))}    fill     {safe(step['side'])}"
        f" {cell_text(step['quantity'])} at {cell_text(step['price'])}, fee {cell_text(step['fee'])}"
        f" {safe(step['fee_currency'])}, trade id {safe(step['trade_id'])}{_listed(step, 'reason')}"
    )


def _protection(step: Step) -> str:
    told = _listed(step, "stop_loss", "take_profit", "stop_order", "take_profit_order")
    return f"{_at(step, 'updated')}    protection {_where(step)}: {safe(step['state'])}{told}"


def _protection_set(step: Step) -> str:
    told = _listed(step, "stop_loss", "take_profit", "why", "raw_code", "detail")
    return (
        f"{_at(step, 'time')}    set      levels of {_where(step)}: {safe(step['outcome'] or 'no outcome yet')}{told}"
    )


def _close(step: Step) -> str:
    return f"{_at(step, 'close')}    close    {_where(step)} became flat by {safe(step['cause'])}"


def _nothing(step: Step) -> str:
    parts = [f"{time_text(step['time_ms'])}  nothing    {safe(step['reason'])}"]
    for name, words in (
        ("last_candle_close_ms", "the last candle delivered ended at"),
        ("decision_before_ms", "the decision before was made at"),
        ("decision_after_ms", "the decision after was made at"),
        ("boot_started_ms", "the daemon was last started before at"),
    ):
        if step.get(name) is not None:
            parts.append(f"{'':<22}{words} {time_text(step[name])}")
    return "\n".join(parts)


_SENTENCES = {
    "decision": _decision,
    "note": _note,
    "intent": _intent,
    "order": _order,
    "event": _event,
    "fill": _fill,
    "protection": _protection,
    "protection_set": _protection_set,
    "close": _close,
    "nothing": _nothing,
}
