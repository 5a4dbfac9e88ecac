"""`tradingd journal …` on a real journal."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.journal.making import BTC, ETH, NOON, inline, make_order, write
from tests.journal.test_views import TREND, a_traded_world
from tradingd.cli import exit_codes
from tradingd.cli.main import main
from tradingd.domain.ids import ClientOrderId, DecisionKey, Epoch, IntentId, Purpose
from tradingd.domain.records import (
    BootRecord,
    DecisionRecord,
    FlagRecord,
    NoteRecord,
    ProtectionRecord,
    StreamRecord,
)
from tradingd.journal.identity import SCHEMA_VERSION

MINUTE = 60_000


@pytest.fixture
def traded(path: Path) -> Path:
    connection = sqlite3.connect(path)
    a_traded_world(connection)
    connection.close()
    return path


def ask(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> tuple[int, str, str]:
    status = main(["journal", words[0], "--journal", str(path), *words[1:]])
    told = capsys.readouterr()
    return status, told.out, told.err


def asked_json(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> list[dict[str, Any]]:
    status, out, _ = ask(capsys, path, *words, "--json")
    assert status == exit_codes.OK
    found = json.loads(out)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(("name", "count"), [("orders", 3), ("fills", 5), ("trades", 1), ("decisions", 1)])
def test_each_list_is_one_json_array_and_a_table_and_csv(
    traded: Path, capsys: pytest.CaptureFixture[str], name: str, count: int
) -> None:
    assert len(asked_json(capsys, traded, name)) == count
    status, out, err = ask(capsys, traded, name)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == f"{count} row{'' if count == 1 else 's'}"
    assert max(len(line) for line in out.splitlines()) < 260
    assert len(ask(capsys, traded, name, "--csv")[1].splitlines()) == count + 1


def test_lists_are_cut_to_the_newest_and_end_with_them(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["trade_id"] for row in asked_json(capsys, traded, "fills", "--limit", "2")] == ["3", "4"]
    assert [row["trade_id"] for row in asked_json(capsys, traded, "fills", "--limit", "0")] == ["1", "2", "5", "3", "4"]


def test_since_takes_a_moment_or_a_time_before_the_newest_row(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ids(since: str) -> list[str]:
        return [row["trade_id"] for row in asked_json(capsys, traded, "fills", "--since", since)]

    assert ids("30s") == ids("2023-11-14T12:00:30") == ids("2023-11-14T13:00:30+01:00") == ["3", "4"]
    assert len(ids("2023-11-14")) == 5
    status, _, err = ask(capsys, traded, "fills", "--since", "yesterday")
    assert status == exit_codes.FAILED
    assert "'yesterday' is not understood; allowed: 2026-01-31" in err


def test_a_query_is_answered_while_the_daemon_runs_and_when_it_does_not(
    traded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = inline(traded)
    running = asked_json(capsys, traded, "query", "SELECT count(*) AS fills FROM v_fills")
    store.close_now()
    stopped = asked_json(capsys, traded, "query", "SELECT count(*) AS fills FROM v_fills")
    assert running == stopped == [{"fills": 5}]


def test_wrong_sql_names_the_views(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = ask(capsys, traded, "query", "SELECT * FROM trade")
    assert (status, out) == (exit_codes.FAILED, "")
    assert err.startswith("tradingd journal: no such table: trade. Views: v_orders, v_fills, v_trades")


def test_a_missing_journal_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = ask(capsys, tmp_path / "none.sqlite", "orders")
    assert status == exit_codes.IO_ERROR
    assert "`tradingd run` makes one" in err


@pytest.mark.parametrize(
    "words", [("trades",), ("query", "SELECT 1 AS one"), ("why", "d1")], ids=lambda words: words[0]
)
def test_a_journal_of_another_schema_is_answered_with_a_warning(
    traded: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    quiet = ask(capsys, traded, *words, "--json")
    connection = sqlite3.connect(traded)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    status, out, err = ask(capsys, traded, *words, "--json")
    assert (status, out, "") == quiet
    assert err.startswith(f"tradingd journal: warning: {traded} has schema 99, this tradingd has {SCHEMA_VERSION}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("chain", ["d1", "no-such-id"])
def test_why_answers_from_a_journal_that_no_daemon_has_opened_since_levels_had_a_table(
    traded: Path, capsys: pytest.CaptureFixture[str], chain: str
) -> None:
    now = ask(capsys, traded, "why", chain, "--json")
    connection = sqlite3.connect(traded)
    connection.execute("DROP TABLE protection_sets")
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    status, out, err = ask(capsys, traded, "why", chain, "--json")
    assert (status, out) == now[:2]
    assert f"has schema 3, this tradingd has {SCHEMA_VERSION}" in err and "no such table" not in err


def test_a_file_that_is_no_journal_is_told_without_a_word_of_permissions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "diary").write_text("no database, only a diary\n" * 300)
    status, out, err = ask(capsys, tmp_path / "diary", "trades")
    assert (status, out) == (exit_codes.IO_ERROR, "")
    assert "is not an SQLite database" in err and "permission" not in err


def test_the_journal_is_found_through_the_configuration(
    traded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(f'[journal]\npath = "{traded}"\n[venues.binance]\nenabled = true\n')
    status = main(["journal", "query", "--config", str(tmp_path / "config.toml"), "--json", "SELECT 1 AS one"])
    assert (status, json.loads(capsys.readouterr().out)) == (0, [{"one": 1}])


CHAIN = [
    "decision",
    "note",
    "intent",
    "order",
    "event",
    "event",
    "event",
    "fill",
    "fill",
    "order",
    "fill",
    "fill",
    "close",
]


@pytest.mark.parametrize("name", ["d1", "d1#1"])
def test_why_of_a_decision_or_an_intent_is_the_whole_chain(
    traded: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert [step["step"] for step in asked_json(capsys, traded, "why", name)] == CHAIN


@pytest.mark.parametrize(
    "name", ["td-lp1abcdef-2s", "algo1", "child1", "3"], ids=["client order id", "venue's id", "child's id", "trade id"]
)
def test_why_of_an_order_is_the_chain_of_its_intent_with_entry_stop_and_take_profit(
    traded: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert [step["step"] for step in asked_json(capsys, traded, "why", name)] == CHAIN


def test_why_of_an_entry_shows_its_stop_and_its_protection_once(
    traded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry, stop = ClientOrderId("td-lp1abcdef-1e"), ClientOrderId("td-lp1abcdef-2s")
    connection = sqlite3.connect(traded)
    write(connection, ProtectionRecord(BTC, TREND, IntentId("d1#1"), None, None, stop, None, "covered", NOON))
    connection.close()
    steps = asked_json(capsys, traded, "why", entry)
    assert [step["client_order_id"] for step in steps if step["step"] == "order"] == [entry, stop]
    assert [step["step"] for step in steps].count("protection") == 1


def test_why_of_an_order_without_an_intent_shows_that_order(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(traded)
    write(connection, make_order(9, Purpose.EXIT, intent_id=None))
    connection.close()
    (step,) = asked_json(capsys, traded, "why", "td-lp1abcdef-9x")
    assert step["step"] == "order"


def test_why_of_a_foreign_fill_shows_the_fill(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (step,) = asked_json(capsys, traded, "why", "5")
    assert (step["step"], step["trade_id"], step["client_order_id"]) == ("fill", "5", None)


def test_why_reads_as_sentences(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ask(capsys, traded, "why", "d1")
    assert "decision   trend on candle BTC/USDT:USDT@binance: it gave intents" in out
    assert "intent     enter BTC/USDT:USDT@binance → ordered" in out
    assert "event    time_out (local): SUBMITTED → IN_DOUBT" in out
    assert "fill     sell 0.5 at 987, fee 0.25 USDT, trade id 4" in out
    assert "close    BTC/USDT:USDT@binance became flat by stop" in out


def test_why_of_a_denied_intent_gives_the_reason(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ask(capsys, traded, "why", "d2#1")
    assert "enter BTC/USDT:USDT@binance → denied: hold_period (30 s)" in out


def test_why_of_an_unknown_name_says_where_names_are(traded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = ask(capsys, traded, "why", "nobody")
    assert (status, out) == (exit_codes.FAILED, "")
    assert "'nobody' is no order, intent, decision or trade id" in err


def candle_key(close_ms: int) -> DecisionKey:
    return DecisionKey(f"trend|candle|{BTC}|1m|{close_ms}")


@pytest.fixture
def quiet(path: Path) -> Path:
    """A minute with nothing, a minute with a note, then a minute that was never asked about."""
    connection = sqlite3.connect(path)
    write(
        connection,
        BootRecord(Epoch("e"), NOON, "sim", "0.1.0", 1, "00"),
        StreamRecord(BTC, "1m", NOON + 3 * MINUTE, NOON + 4 * MINUTE),
        DecisionRecord(candle_key(NOON + MINUTE), TREND, "candle", BTC, NOON + MINUTE + 5, "nothing", 99, "c0de"),
        DecisionRecord(candle_key(NOON + 2 * MINUTE), TREND, "candle", BTC, NOON + 2 * MINUTE, "notes", 99, "c0de"),
        NoteRecord(candle_key(NOON + 2 * MINUTE), 1, BTC, "range too small", '{"range": 0.1}'),
        FlagRecord("quarantined:trend", "1", "endless loop", NOON + 2 * MINUTE + 1),
    )
    connection.close()
    return path


@pytest.mark.parametrize(
    ("strategy", "instrument", "time", "told"),
    [
        ("trend", BTC, "2023-11-14T12:00:30", "it saw this and returned nothing (99 µs)"),
        ("trend", BTC, "2023-11-14T12:01", "it saw this and returned nothing (99 µs)"),
        ("trend", BTC, "2023-11-14T12:01:30Z", "range too small"),
        ("trend", BTC, "2023-11-14T12:02:30", "it is quarantined: endless loop"),
        ("trend", BTC, "2023-11-14T13:00", "no candle of BTC/USDT:USDT@binance that ends at or after this time"),
        ("trend", ETH, "2023-11-14T12:01", "no candle of ETH/USDT:USDT@binance was ever delivered"),
        ("other", BTC, "2023-11-14T12:01", "strategies that were asked: trend"),
    ],
)
def test_why_of_a_moment_says_what_was_done_or_why_nothing_was(
    quiet: Path, capsys: pytest.CaptureFixture[str], strategy: str, instrument: object, time: str, told: str
) -> None:
    status, out, _ = ask(capsys, quiet, "why", strategy, str(instrument), time)
    assert status == exit_codes.OK
    assert told in out
    assert asked_json(capsys, quiet, "why", strategy, str(instrument), time)


def test_why_with_a_wrong_instrument_says_the_form(quiet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = ask(capsys, quiet, "why", "trend", "BTCUSDT", "2023-11-14")
    assert status != exit_codes.OK
    assert "BASE/QUOTE:SETTLE@venue" in err
    assert ask(capsys, quiet, "why", "trend", "BTCUSDT")[0] == exit_codes.USAGE


def test_text_from_outside_cannot_move_the_cursor(quiet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(quiet)
    write(connection, NoteRecord(candle_key(NOON + 2 * MINUTE), 2, BTC, "\x1b[2Jgone\n", "{}"))
    connection.close()
    for words in (("why", str(candle_key(NOON + 2 * MINUTE))), ("decisions",), ("query", "SELECT reason FROM notes")):
        assert "\x1b" not in ask(capsys, quiet, *words)[1]


def test_the_command_loads_neither_venue_nor_database_libraries(traded: Path) -> None:
    script = (
        "import sys; from tradingd.cli.main import main;"
        f"main(['journal', 'orders', '--journal', {str(traded)!r}]);"
        "print([name for name in ('ccxt', 'alembic', 'sqlalchemy', 'aiosqlite', 'aiohttp') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
