"""The comparison behind the figures: silent on a real run, red on each thing that may go wrong."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import compare
from tests.figures.conftest import CANDLES, Files


@pytest.fixture
def copy(finished: Files, tmp_path: Path) -> Files:
    """A copy that may be doctored."""
    return Files(*(Path(shutil.copy(path, tmp_path)) for path in finished))


@contextmanager
def doctor(path: Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(path)
    db.execute("PRAGMA legacy_alter_table = ON")  # views would stand in the way of replacing a table
    yield db
    db.commit()
    db.close()


def wrong(files: Files) -> dict[str, list[str]]:
    found = compare.compare(files.ledger, files.journal, files.candles)
    return {finding.name: finding.wrong for finding in found if finding.wrong}


def one(db: sqlite3.Connection, sql: str) -> tuple:
    row = db.execute(sql).fetchone()
    assert row is not None, f"nothing to doctor: {sql}"
    return tuple(row)


def test_a_real_run_shows_no_difference_and_was_worth_comparing(finished: Files) -> None:
    found = {finding.name: finding for finding in compare.compare(*finished)}
    assert {name: finding.wrong for name, finding in found.items() if finding.wrong} == {}
    assert found["candles decided once, in order"].looked_at == CANDLES
    assert found["fills, both ways"].looked_at >= 8
    assert found["orders, both ways"].looked_at >= 8
    assert found["hold period kept"].looked_at >= 3


def test_the_command_says_so_by_its_exit_status(copy: Files, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--ledger", str(copy.ledger), "--journal", str(copy.journal), "--candles", str(copy.candles)]
    assert compare.main(command) == 0
    with doctor(copy.journal) as db:
        db.execute("DELETE FROM fills WHERE sequence = 2")
    assert compare.main(command) == 1
    assert "is lost: the journal has it not" in capsys.readouterr().out


def delete_fill(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM fills WHERE sequence = (SELECT max(sequence) FROM fills)")


def bend_price(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE fills SET price = price + 0.1 WHERE sequence = 1")


def bend_quantity(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE fills SET quantity = quantity + 0.001 WHERE sequence = 1")


def bend_fee(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE fills SET fee = fee + 0.00000001 WHERE sequence = 1")


def rename_trade(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE fills SET trade_id = trade_id || '0' WHERE sequence = 1")


def double_fill(journal: sqlite3.Connection) -> None:
    journal.execute("CREATE TABLE loose AS SELECT * FROM fills")
    journal.execute("INSERT INTO loose SELECT * FROM fills WHERE sequence = 1")
    journal.execute("DROP TABLE fills")
    journal.execute("ALTER TABLE loose RENAME TO fills")


def delete_entry_order(journal: sqlite3.Connection) -> None:
    journal.execute(
        "DELETE FROM orders WHERE client_order_id = (SELECT min(client_order_id) FROM orders WHERE purpose = 'entry')"
    )


def delete_closing_order(journal: sqlite3.Connection) -> None:
    journal.execute(
        "DELETE FROM orders WHERE client_order_id = (SELECT min(client_order_id) FROM orders WHERE purpose <> 'entry')"
    )


def invent_order(journal: sqlite3.Connection) -> None:
    columns = [row[1] for row in journal.execute("PRAGMA table_info(orders)")]
    rest = ", ".join(name for name in columns if name != "client_order_id")
    journal.execute(f"INSERT INTO orders (client_order_id, {rest}) SELECT 'td-00000000-1e', {rest} FROM orders LIMIT 1")


def leave_in_doubt(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE orders SET status = 'IN_DOUBT' WHERE purpose = 'exit'")


def miss_candle(journal: sqlite3.Connection) -> None:
    journal.execute(
        "DELETE FROM decisions WHERE sequence = (SELECT sequence FROM decisions WHERE cause = 'candle'"
        " AND outcome = 'nothing' LIMIT 1 OFFSET 3)"
    )


def double_candle(journal: sqlite3.Connection) -> None:
    journal.execute("CREATE TABLE loose AS SELECT * FROM decisions")
    journal.execute("INSERT INTO loose SELECT * FROM decisions WHERE cause = 'candle' LIMIT 1")
    journal.execute("DROP TABLE decisions")
    journal.execute("ALTER TABLE loose RENAME TO decisions")


def forget_last_candle(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE streams SET last_open_ms = last_open_ms - 60000")


def answer_other_candle(journal: sqlite3.Connection) -> None:
    journal.execute(
        "UPDATE intents SET payload_json = json_set(payload_json, '$.stop_loss', '1000.5')"
        " WHERE intent_id = (SELECT intent_id FROM intents WHERE kind = 'enter' LIMIT 1)"
    )


def move_position(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE positions SET quantity = quantity + 0.001")


def lose_outcome(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE intents SET outcome = NULL WHERE intent_id = (SELECT min(intent_id) FROM intents)")


def lose_decision(journal: sqlite3.Connection) -> None:
    journal.execute("DELETE FROM decisions WHERE key = (SELECT decision FROM intents LIMIT 1)")


def book_fee_twice(journal: sqlite3.Connection) -> None:
    journal.execute("UPDATE ledger SET amount = amount * 2 WHERE sequence = 1")


def raise_incident(journal: sqlite3.Connection) -> None:
    journal.execute(
        "INSERT INTO incidents (incident_id, kind, severity, detail, raised_ms)"
        " VALUES ('x', 'late_fill', 'warning', 'planted', 1)"
    )


@pytest.mark.parametrize(
    ("plant", "where"),
    [
        (delete_fill, "fills, both ways"),
        (bend_price, "fills, both ways"),
        (bend_quantity, "fills, both ways"),
        (bend_fee, "fills, both ways"),
        (rename_trade, "fills, both ways"),
        (double_fill, "fills, both ways"),
        (delete_entry_order, "orders, both ways"),
        (delete_closing_order, "orders, both ways"),
        (invent_order, "orders, both ways"),
        (leave_in_doubt, "orders, both ways"),
        (miss_candle, "candles decided once, in order"),
        (double_candle, "candles decided once, in order"),
        (forget_last_candle, "candles decided once, in order"),
        (answer_other_candle, "intents fit the file's closes"),
        (move_position, "positions equal"),
        (lose_outcome, "intents have one outcome"),
        (lose_decision, "intents have one outcome"),
        (book_fee_twice, "wallet as expected"),
        (raise_incident, "incidents"),
    ],
)
def test_a_fault_planted_in_the_journal_turns_it_red(
    copy: Files, plant: Callable[[sqlite3.Connection], None], where: str
) -> None:
    with doctor(copy.journal) as db:
        plant(db)
    assert where in wrong(copy)


def test_a_second_order_for_one_entry_turns_it_red(copy: Files) -> None:
    with doctor(copy.journal) as db:
        intent, first, second = one(
            db,
            "SELECT a.intent_id, a.client_order_id, b.client_order_id FROM orders a"
            " JOIN orders b ON b.purpose = 'entry' AND b.client_order_id > a.client_order_id"
            " WHERE a.purpose = 'entry'",
        )
        db.execute("UPDATE orders SET intent_id = ? WHERE client_order_id = ?", (intent, second))
    assert any(intent in text for text in wrong(copy)["no order doubled"])
    assert first != second


def test_a_client_order_id_accepted_twice_turns_it_red(copy: Files) -> None:
    with doctor(copy.ledger) as db:
        (name,) = one(db, "SELECT client_order_id FROM orders WHERE parent_id = 0")
        db.execute(
            "INSERT INTO requests (arrival_ms, method, path, params, client_order_id, accepted, http_status)"
            " SELECT 1, method, path, params, client_order_id, 1, 200 FROM requests"
            " WHERE client_order_id = ? AND method = 'POST' AND accepted = 1",
            (name,),
        )
    assert wrong(copy)["no order doubled"] == [f"{name} was accepted 2 times"]


def test_an_entry_within_the_hold_period_turns_it_red(copy: Files) -> None:
    with doctor(copy.ledger) as db:
        name, close_ms = one(
            db,
            "SELECT o.client_order_id, max(p.time_ms) FROM orders o JOIN position_changes p"
            " ON p.time_ms < o.created_ms AND CAST(p.quantity AS REAL) = 0"
            " WHERE o.client_order_id LIKE '%e' GROUP BY 1",
        )
        db.execute("UPDATE orders SET created_ms = ? WHERE client_order_id = ?", (close_ms + 179_999, name))
    assert any(name in text for text in wrong(copy)["hold period kept"])


def test_an_entry_right_at_the_end_of_the_hold_period_is_none(copy: Files) -> None:
    with doctor(copy.ledger) as db:
        name, close_ms = one(
            db,
            "SELECT o.client_order_id, max(p.time_ms) FROM orders o JOIN position_changes p"
            " ON p.time_ms < o.created_ms AND CAST(p.quantity AS REAL) = 0"
            " WHERE o.client_order_id LIKE '%e' GROUP BY 1",
        )
        db.execute("UPDATE orders SET created_ms = ? WHERE client_order_id = ?", (close_ms + 180_000, name))
    assert "hold period kept" not in wrong(copy)


def test_a_leftover_past_flat_turns_it_red(copy: Files) -> None:
    with doctor(copy.ledger) as db:
        db.execute("UPDATE algo_orders SET status = 'NEW'")
        db.execute("UPDATE positions SET quantity = '0'")
    assert "no leftovers" in wrong(copy)


def test_a_position_without_its_stop_turns_it_red(copy: Files) -> None:
    with doctor(copy.ledger) as db:
        db.execute("DELETE FROM algo_orders WHERE kind = 'STOP_MARKET'")
        db.execute("UPDATE position_changes SET time_ms = time_ms + 3600000 * 1000 WHERE CAST(quantity AS REAL) = 0")
    found = wrong(copy)
    assert "positions protected" in found


def test_a_position_that_turns_around_in_one_step_turns_it_red(copy: Files) -> None:
    with doctor(copy.ledger) as db:
        db.execute("UPDATE position_changes SET quantity = '-0.01' WHERE CAST(quantity AS REAL) = 0")
    assert any("turned from" in text for text in wrong(copy)["positions equal"])


def test_a_candle_that_the_venue_changed_turns_it_red(copy: Files) -> None:
    with doctor(copy.ledger) as db:
        db.execute("UPDATE candles SET close = '1' WHERE open_ms = (SELECT max(open_ms) FROM candles)")
    assert "candles offered by the venue" in wrong(copy)


def test_an_order_that_ended_by_itself_is_expired_in_the_journal_or_canceled_where_the_venue_has_no_other_word(
    copy: Files,
) -> None:
    with doctor(copy.ledger) as db:
        names = "(SELECT client_order_id FROM orders WHERE parent_id = 0 AND status = 'FILLED' LIMIT 1)"
        name = one(db, f"SELECT client_order_id FROM orders WHERE client_order_id = {names}")[0]
        db.execute("UPDATE orders SET status = 'EXPIRED' WHERE client_order_id = ?", (name,))
        venue = json.loads(one(db, "SELECT value FROM meta WHERE key = 'identity'")[0]).get("venue", "binance")
    said = {"binance": "EXPIRED", "bybit": "CANCELED"}
    for status in ("EXPIRED", "CANCELED"):
        with doctor(copy.journal) as db:
            db.execute("UPDATE orders SET status = ? WHERE client_order_id = ?", (status, name))
        differs = f"{name}: EXPIRED on the venue, {status} in the journal"
        assert (differs in wrong(copy).get("orders, both ways", [])) == (status != said[venue]), status


def test_nothing_of_the_daemon_is_imported_by_the_comparison() -> None:
    import ast

    for module in ("compare.py", "evidence.py"):
        tree = ast.parse((Path(compare.__file__).parent / module).read_text())
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        tops = {name.partition(".")[0] for name in names}
        assert "tradingd" not in tops and "sqlalchemy" not in tops
        assert {name for name in names if name.startswith("benchmarks")} <= {"benchmarks.evidence"}
