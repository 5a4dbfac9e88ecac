"""`tradingd` itself, with closing candle frames and intents marked: `... MARKS [--no-commit] [--stalls] ARGUMENTS`.
With `--stalls` what keeps the loop is written to MARKS.stalls.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.latency.marks import WANTED, Marks, mark_closing_frames
from benchmarks.latency.stalls import write_stalls
from tradingd.app import main as process
from tradingd.cli.main import main
from tradingd.domain.records import Record
from tradingd.execution.pipeline import Pipeline
from tradingd.journal.store import SqliteStore


class Uncommitted:
    """A journal that costs nothing: what is submitted counts as committed at once, and is not written. Everything else,
    reads among it, goes to the real one. Only for measuring what the rest of the way costs."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def submit(
        self, records: Sequence[Record], *, durable: bool = True, applied: Callable[[], None] | None = None
    ) -> "asyncio.Future[None]":
        """Done."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def commit_nothing() -> None:
    """From now on the daemon of this process writes no journal."""
    open_journal = vars(process)["open_journal"]

    async def opened(*args: Any, **options: Any) -> Any:
        return Uncommitted(await open_journal(*args, **options))

    vars(process)["open_journal"] = opened


def mark_intents(marks: Marks) -> None:
    """From now on every intent is marked when the pipeline is given it."""
    submit = Pipeline.submit_intent

    def marked(self: Pipeline, *args: Any, **options: Any) -> None:
        marks.put(WANTED)
        submit(self, *args, **options)

    Pipeline.submit_intent = marked  # type: ignore[method-assign]


if __name__ == "__main__":
    stamps = Marks(Path(sys.argv[1]))
    mark_closing_frames(stamps)
    mark_intents(stamps)
    arguments = sys.argv[2:]
    if "--no-commit" in arguments:
        arguments.remove("--no-commit")
        commit_nothing()
    if "--stalls" in arguments:
        arguments.remove("--stalls")
        write_stalls(Path(f"{sys.argv[1]}.stalls"))
    sys.argv = ["tradingd", *arguments]
    sys.exit(main())
