"""`tradingd quirks [VENUE]`: in what each venue departs from the common model, why, and what guards it."""

import argparse
import json
import textwrap
from typing import TYPE_CHECKING, Any

from tradingd.cli import exit_codes
from tradingd.domain.jsonsafe import plain
from tradingd.venues.known import QUIRKS
from tradingd.venues.quirks import Quirk

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_WIDTH = 120
_LABEL = 10


def add_parser(subparsers: "Subparsers") -> None:
    """Add `quirks`."""
    parser = subparsers.add_parser("quirks", help="what is special about each venue, and why", allow_abbrev=False)
    parser.add_argument("venue", metavar="VENUE", nargs="?", choices=sorted(QUIRKS), help="default: all")
    parser.add_argument("--json", action="store_true", help="one JSON array with one object per quirk")


def run(args: argparse.Namespace) -> int:
    """Print them; returns the exit status."""
    rows = [row for name in sorted(QUIRKS) if args.venue in (None, name) for row in rows_of(name)]
    if args.json:
        print(json.dumps(rows, ensure_ascii=False))
        return exit_codes.OK
    venue = None
    for row in rows:
        if row["venue"] != venue:
            venue = row["venue"]
            print(f"{venue}: {sum(each['venue'] == venue for each in rows)} quirks")
        print(f"\n{row['quirk']}")
        for name in ("value", "why", "source", "test"):
            print(_paragraph(name, _text(row[name])))
    return exit_codes.OK


def rows_of(venue: str) -> list[dict[str, Any]]:
    """The quirks of one venue in the order of the record."""
    quirks = QUIRKS[venue]
    found = ((name, getattr(quirks, name)) for name in quirks.__struct_fields__)
    return [
        {
            "venue": venue,
            "quirk": name,
            "value": _json_value(quirk.value),
            "why": quirk.why,
            "source": quirk.source,
            "test": quirk.test,
        }
        for name, quirk in found
        if isinstance(quirk, Quirk)
    ]


def _json_value(value: object) -> Any:
    return plain(sorted(value) if isinstance(value, frozenset) else value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _paragraph(label: str, text: str) -> str:
    """The text behind its label, wrapped."""
    lines = textwrap.wrap(text, _WIDTH - 4 - _LABEL, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(f"    {label if index == 0 else '':<{_LABEL}}{line}" for index, line in enumerate(lines))
