"""Units that the journal refused, kept as JSON lines beside it: for a human, so that nothing is lost silently."""

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tradingd.domain.records import Record
from tradingd.journal.spool import append_line


def keep(journal: Path | None, records: Sequence[Record], reason: str) -> str:
    """Append one line, on the disk when this returns; raises OSError. Returns the file's name."""
    if journal is None:
        raise OSError("a journal in memory has no file beside it")
    path = journal.with_name(journal.name + ".refused")
    unit = {
        "reason": reason,
        "records": [{"record": type(record).__name__, "fields": _fields(record)} for record in records],
    }
    # ASCII: what was refused may hold text that is no UTF-8
    append_line(path, json.dumps(unit, default=repr).encode("ascii"))
    return str(path)


def _fields(record: Record) -> object:
    """The record as JSON holds it; as its Python text where a value in it cannot be."""
    try:
        return msgspec.to_builtins(record, str_keys=True)
    except (TypeError, ValueError, OverflowError):
        return repr(record)
