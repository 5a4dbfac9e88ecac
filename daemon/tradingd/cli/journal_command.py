"""`tradingd journal query SQL | orders | fills | trades | decisions | why ID`: reads the journal, whether or not the
daemon runs. Exit status 0, 1 for a query that fails or a name that is not found, 74 when there is no journal to read.
"""

import argparse
import csv
import json
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tradingd.cli import exit_codes
from tradingd.cli.journal_text import chain_text, table_text
from tradingd.config import load_settings
from tradingd.domain.instruments import InstrumentId
from tradingd.journal.reading import QueryFailed, Reader, Rows, open_reader
from tradingd.journal.why import chain_at, chain_of

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_LIMIT = 50
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LISTS = {
    "orders": (
        "created, client_order_id, venue, symbol, purpose, side, kind, status, quantity, booked_quantity,"
        " average_price, slippage_bps, reject_code, reason",
        "created_ms",
    ),
    "fills": (
        "time, venue, symbol, side, quantity, price, fee, client_order_id, trade_id, purpose, slippage_bps",
        "time_ms",
    ),
    "trades": (
        "opened, closed, venue, symbol, strategy, direction, quantity, entry_price, exit_price, fees, funding, pnl,"
        " entry_slippage_bps, held_s, exit_by, exit_reason",
        "closed_ms",
    ),
    "decisions": ("time, strategy, venue, symbol, cause, outcome, intent_outcomes, notes, late, error", "time_ms"),
}
"""Each list: the columns for people, and the time that orders it. As JSON or CSV all columns are given."""


def add_parser(subparsers: "Subparsers") -> None:
    """Add `journal` with its actions."""
    parser = subparsers.add_parser("journal", help="ask the journal", allow_abbrev=False)
    actions = parser.add_subparsers(dest="journal_action", required=True, metavar="ACTION")
    query = _added(actions, "query", "one SELECT over tables and views (docs/journal.md)")
    query.add_argument("sql", metavar="SQL")
    query.add_argument("--limit", type=_natural, default=0, metavar="N", help="at most N rows; default: all")
    for name in _LISTS:
        listing = _added(actions, name, f"the last {name}, newest at the end")
        listing.add_argument(
            "--limit", type=_natural, default=DEFAULT_LIMIT, metavar="N", help=f"default: {DEFAULT_LIMIT}; 0 for all"
        )
        listing.add_argument("--since", metavar="TIME", help="ISO time (UTC), or 30m, 2h, 3d before the newest row")
    why = _added(actions, "why", "the whole chain of an order, an intent, a decision, a trade id; or of a moment")
    why.add_argument("what", nargs="+", metavar="ID", help="an ID, or: STRATEGY INSTRUMENT TIME")


def run(args: argparse.Namespace) -> int:
    """Ask and print; returns the exit status. Raises JournalError, ConfigError."""
    path = args.journal or load_settings(args.config, os.environ).journal_path
    reader = open_reader(Path(path))
    if reader.warning is not None:
        print(f"tradingd journal: warning: {reader.warning}", file=sys.stderr)
    try:
        if args.journal_action == "why":
            return _why(reader, args)
        if args.journal_action == "query":
            _print(reader.query(args.sql, limit=args.limit or None), args)
        else:
            _print(_listed(reader, args), args)
    except QueryFailed as error:
        print(f"tradingd journal: {error}", file=sys.stderr)
        return exit_codes.FAILED
    finally:
        reader.close()
    return exit_codes.OK


def _added(actions: "Subparsers", name: str, text: str) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="whose journal; default: ./config.toml, else the shipped one")
    parser.add_argument("--journal", metavar="FILE", type=Path, help="the journal itself, instead of --config")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON array with one object per row")
    output.add_argument("--csv", action="store_true", help="comma-separated, with a heading")
    return parser


def _listed(reader: Reader, args: argparse.Namespace) -> Rows:
    columns, moment = _LISTS[args.journal_action]
    view = f"v_{args.journal_action}"
    chosen = "*" if args.json or args.csv else columns
    since_ms = _since_ms(reader, view, moment, args.since) if args.since else None
    where = f" WHERE {moment} >= {since_ms}" if since_ms is not None else ""
    limit = f" LIMIT {args.limit}" if args.limit else ""
    found = reader.query(f"SELECT {chosen} FROM {view}{where} ORDER BY {moment} DESC{limit}")
    return Rows(found.columns, found.rows[::-1])


def _since_ms(reader: Reader, view: str, moment: str, text: str) -> int:
    """The time that --since names; a duration counts back from the newest row, for venue time may not be ours."""
    ago = re.fullmatch(r"([0-9]+)([smhd])", text)
    if ago is None:
        return _time_ms(text)
    newest = reader.query(f"SELECT max({moment}) FROM {view}").rows[0][0]
    return int(newest or 0) - int(ago[1]) * _UNITS_MS[ago[2]]


def _time_ms(text: str) -> int:
    if text.isdigit() and len(text) > 8:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise QueryFailed(
            f"time {text!r} is not understood; allowed: 2026-01-31, 2026-01-31T12:30 (UTC), with +01:00, ms since 1970"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _why(reader: Reader, args: argparse.Namespace) -> int:
    if len(args.what) == 1:
        steps = chain_of(reader, args.what[0])
    elif len(args.what) == 3:
        instrument = InstrumentId.parse(args.what[1])
        steps = chain_at(reader, args.what[0], instrument.venue, instrument.symbol, _time_ms(args.what[2]))
    else:
        print("tradingd journal why: say one ID, or STRATEGY INSTRUMENT TIME", file=sys.stderr)
        return exit_codes.USAGE
    if not steps:
        print(
            f"tradingd journal why: {args.what[0]!r} is no order, intent, decision or trade id in {reader.path}."
            " `tradingd journal orders`, `fills` and `decisions` list them.",
            file=sys.stderr,
        )
        return exit_codes.FAILED
    if args.json:
        print(json.dumps(steps, ensure_ascii=False, default=repr))
    elif args.csv:
        names = tuple(dict.fromkeys(name for step in steps for name in step))
        _print_csv(names, [tuple(step.get(name) for name in names) for step in steps])
    else:
        print(chain_text(steps))
    return exit_codes.OK


def _print(found: Rows, args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(found.objects(), ensure_ascii=False, default=repr))
    elif args.csv:
        _print_csv(found.columns, found.rows)
    else:
        print(table_text(found))


def _print_csv(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)


def _natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)
