"""The README, done: `tradingd run` on the built-in venue, every command of the page, and then what is in the files.

The venue's ledger is read with sqlite3 alone, so that it is evidence of its own.
"""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SPEED = 600
VENUES = ("binance", "bybit")
HOLD_MS = 3 * 60_000
"""hold_candles and timeframe of the shipped config."""


class Run(msgspec.Struct, frozen=True):
    """One run that has ended: its directory, what each command of the page said, and the screen."""

    directory: Path
    answers: dict[str, subprocess.CompletedProcess[str]]
    screen: str

    def rows(self, sql: str, file: str = "var/sim.db") -> list[tuple[object, ...]]:
        connection = sqlite3.connect(f"file:{self.directory / file}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def ledger(self, sql: str, *venues: str) -> list[tuple[object, ...]]:
        """What the ledgers of these venues say, or all of them; one after another."""
        return [row for venue in venues or VENUES for row in self.rows(sql, f"var/venues/{venue}/ledger.db")]


def commands() -> list[str]:
    """The lines of the page's ```sh blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("tradingd ")]


def _count(journal: Path, sql: str) -> int:
    if not journal.exists():
        return 0
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        return int(connection.execute(sql).fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # the start is still making it
    finally:
        connection.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Trades until a few positions were closed and an entry was denied, says every command of the page, then stops."""
    directory = tmp_path_factory.mktemp("run")
    environ = {**os.environ, "TRADINGD__LOG__FORMAT": "console", "NO_COLOR": "1"}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"

    def say(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(shlex.split(line), cwd=directory, env=environ, capture_output=True, text=True, timeout=60)

    with (directory / "screen").open("w") as screen:
        daemon = subprocess.Popen(
            ["tradingd", "run", "--speed", str(SPEED)], cwd=directory, env=environ, stdout=screen, stderr=screen
        )
        try:
            journal = directory / "var" / "sim.db"
            deadline = time.monotonic() + 80
            while time.monotonic() < deadline and daemon.poll() is None:
                trades = [f"SELECT count(*) FROM v_trades WHERE venue = '{each}'" for each in VENUES]
                closed = min(_count(journal, sql) for sql in trades)
                denied = _count(journal, "SELECT count(*) FROM intents WHERE outcome = 'denied'")
                if closed >= 1 and denied and _count(journal, "SELECT count(*) FROM v_trades") >= 3:
                    break
                time.sleep(0.2)
            answers = {}
            for line in commands():
                if line == "tradingd stop":
                    continue
                # the page's moment is an example; one that this run has seen takes its place
                moment = str(_at(journal, "SELECT max(time_iso) FROM decisions WHERE cause = 'candle'"))
                answers[line] = say(re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d$", moment, line))
            say("tradingd resume")
            say("tradingd pause")
            answers["tradingd flatten"] = say("tradingd flatten")
            answers["tradingd stop"] = say("tradingd stop")
            assert daemon.wait(timeout=20) == 0
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
    yield Run(directory, answers, (directory / "screen").read_text())


def _at(journal: Path, sql: str) -> object:
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


def test_every_command_of_the_page_does_what_it_says(run: Run) -> None:
    assert len(run.answers) >= len(commands()) >= 10
    for line, done in run.answers.items():
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout.strip() and not done.stderr, line
    assert "→ denied" in "".join(done.stdout for done in run.answers.values()) or run.rows(
        "SELECT 1 FROM intents WHERE outcome = 'denied'"
    )


def test_the_three_queries_have_rows(run: Run) -> None:
    queries = [line for line in commands() if "journal query" in line]
    assert len(queries) == 3
    for line in queries:
        assert not re.search(r"^(0 rows|no rows)", run.answers[line].stdout, re.MULTILINE), line
        assert len(run.answers[line].stdout.splitlines()) >= 3, line


def test_the_screen_shows_what_the_page_shows(run: Run) -> None:
    (shown,) = re.findall(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    told = set(re.findall(r"^\S+Z \w+ +(\w+)", run.screen, re.MULTILINE))
    for line in shown.splitlines():
        event = line.split()[2]
        if event not in ("order_triggered", "heartbeat"):  # which of stop and strategy closes is a matter of timing
            assert event in told, event
    assert "Traceback" not in run.screen
    # a gap of the market may jump over a stop before it stands; then the position is closed, and that is told
    critical = re.findall(r"^\S+Z CRIT +(.*)$", run.screen, re.MULTILINE)
    assert [line for line in critical if "emergency_close" not in line or "beyond the stop" not in line] == []


def test_the_screen_says_which_venue_did_what(run: Run) -> None:
    about = r"^\S+Z \w+ +((?:candle|order|position|protection|intent|venue|built_in_venue)_\w+) +(\S+)"
    found = re.findall(about, run.screen, re.MULTILINE)
    nameless = [line for line in found if line[1].rpartition("@")[2] not in VENUES]
    assert nameless == []
    for venue in VENUES:
        told = {event for event, place in found if place.endswith(venue)}
        assert told >= {"venue_state_changed", "order_submitted", "order_filled", "position_closed"}, venue


def test_the_venue_knows_no_order_that_the_journal_lacks(run: Run) -> None:
    sent = run.ledger(
        "SELECT client_order_id, count(*) FROM requests WHERE accepted AND method = 'POST' "
        "AND (path LIKE '%rder' OR path = '/v5/order/create') AND client_order_id LIKE 'td-%' GROUP BY 1"
    )
    journalled = {key for (key,) in run.rows("SELECT client_order_id FROM orders")}
    assert sent and {key for key, _ in sent} <= journalled
    assert all(times == 1 for _, times in sent), "a client order id was accepted twice"


def test_fills_and_orders_of_journal_and_venue_are_the_same(run: Run) -> None:
    # Binance numbers its fills, as its ledger does; Bybit tells ids of another form
    numbered = "SELECT CAST(trade_id AS INTEGER) FROM fills WHERE venue = 'binance' ORDER BY 1"
    assert run.rows(numbered) == run.ledger("SELECT trade_id FROM fills ORDER BY 1", "binance")
    for venue in VENUES:
        ours = run.rows(f"SELECT side, price, quantity, fee FROM fills WHERE venue = '{venue}' ORDER BY 1, 2, 3, 4")
        theirs = run.ledger(
            "SELECT lower(side), CAST(price AS REAL), CAST(quantity AS REAL), CAST(fee AS REAL) "
            "FROM fills ORDER BY 1, 2, 3, 4",
            venue,
        )
        assert ours == theirs and len(ours) >= 2


def test_no_entry_is_signed_inside_the_hold_period(run: Run) -> None:
    for venue in VENUES:  # one instrument on each
        closes = [ms for (ms,) in run.rows(f"SELECT closed_ms FROM v_trades WHERE venue = '{venue}'")]
        signed = f"SELECT signed_ms FROM orders WHERE purpose = 'entry' AND venue = '{venue}'"
        entries = [ms for (ms,) in run.rows(signed)]
        assert closes and entries
        inside = [entry for entry in entries for close in closes if close <= entry < close + HOLD_MS]  # type: ignore[operator]
        assert inside == []


def test_each_position_had_its_stop_within_five_seconds_or_was_closed(run: Run) -> None:
    entries = run.rows(
        "SELECT o.client_order_id, min(f.time_ms) FROM orders o JOIN fills f USING (client_order_id) "
        "WHERE o.purpose = 'entry' GROUP BY 1"
    )
    for order, filled_ms in entries:
        stops = run.rows(
            "SELECT e.time_ms FROM orders s JOIN order_events e ON e.client_order_id = s.client_order_id "
            f"JOIN orders o ON o.intent_id = s.intent_id WHERE o.client_order_id = '{order}' "
            "AND s.purpose = 'stop' AND e.event = 'accept'"
        )
        stops += run.rows(
            "SELECT e.time_ms FROM orders x JOIN order_events e ON e.client_order_id = x.client_order_id "
            "WHERE x.purpose = 'exit' AND x.reason LIKE 'emergency: %' "
            f"AND x.symbol = (SELECT symbol FROM orders WHERE client_order_id = '{order}') "
            f"AND e.event IN ('accept', 'fill_part', 'fill_all') AND e.time_ms >= {filled_ms}"
        )
        # where the venue keeps both levels as a state of the position
        stops += run.rows(
            "SELECT s.answered_ms FROM protection_sets s JOIN orders o ON o.intent_id = s.intent_id "
            f"WHERE o.client_order_id = '{order}' AND s.outcome = 'accepted'"
        )
        assert stops, f"{order} has no stop"
        real_s = (min(ms for (ms,) in stops) - filled_ms) / 1000 / SPEED  # type: ignore[operator,type-var]
        assert real_s <= 5, order


def test_what_closes_or_protects_cannot_enlarge_a_position(run: Run) -> None:
    rows = run.rows("SELECT purpose, reduce_only OR close_position FROM orders")
    assert {purpose for purpose, _ in rows} >= {"entry", "stop", "take_profit"}
    assert all(reduces == (purpose != "entry") for purpose, reduces in rows)
    held = [float(str(quantity)) for (quantity,) in run.ledger("SELECT quantity FROM position_changes")]
    assert held and min(held) >= 0, "the shipped strategy is long or flat, so is the venue"


def test_after_a_flatten_nothing_is_held_and_nothing_is_left(run: Run) -> None:
    assert run.rows("SELECT symbol FROM v_positions") == []
    assert [row for row in run.ledger("SELECT quantity FROM positions") if float(str(row[0]))] == []
    assert run.ledger("SELECT client_order_id FROM algo_orders WHERE status = 'NEW'") == []
    assert run.ledger("SELECT client_order_id FROM orders WHERE status IN ('NEW', 'PARTIALLY_FILLED')") == []


def test_each_intent_has_one_outcome_and_each_order_its_chain(run: Run) -> None:
    assert run.rows("SELECT intent_id FROM intents WHERE outcome IS NULL") == []
    assert run.rows("SELECT intent_id FROM intents WHERE outcome = 'denied' AND coalesce(reason, '') = ''") == []
    loose = run.rows(
        "SELECT o.client_order_id FROM orders o LEFT JOIN intents i ON i.intent_id = o.intent_id "
        "LEFT JOIN decisions d ON d.key = i.decision WHERE d.key IS NULL "
        "AND o.reason NOT LIKE '%operator%' AND o.reason NOT LIKE 'emergency: %' "
        # the operator's exit that the stop forestalled: its reason is the venue's
        "AND NOT (o.purpose = 'exit' AND o.reject_code = '-2022')"
    )
    assert loose == []


def test_each_query_of_the_journals_page_runs_on_the_journal_of_this_run(run: Run) -> None:
    page = (ROOT / "docs" / "journal.md").read_text()
    queries = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = [run.rows(sql) for sql in queries]
    earned, ends, curve, refused, answers, in_doubt, slippage, _slow, boots, broken = map(bool, found)
    assert earned and ends and curve and refused and answers and slippage and boots
    assert not in_doubt and not broken


def test_the_last_run_of_each_timed_job_is_in_the_journal(run: Run) -> None:
    jobs = run.rows("SELECT name, ok, detail FROM jobs WHERE last_run_ms > 0")
    assert {("tick", 1, ""), ("health", 1, ""), ("candle check", 1, "")} <= set(jobs)


def test_the_daemons_own_times_are_venue_time_like_all_others(run: Run) -> None:
    boots = "SELECT min(started_ms), max(stopped_ms), (SELECT max(last_run_ms) FROM jobs) FROM boots"
    ((started_ms, stopped_ms, last_run_ms),) = run.rows(boots)
    ((first_ms, last_ms),) = run.rows("SELECT min(time_ms), max(time_ms) FROM fills")
    times = [int(str(each)) for each in (started_ms, first_ms, last_ms, stopped_ms)]
    assert times == sorted(times)
    assert times[1] <= int(str(last_run_ms)) <= times[3]
