"""`tradingd run` before something that answers and is no venue: one line with what to do, never a traceback."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import tradingd
from tests.cli.rubbish import answering
from tradingd.app.sim_venue import Time, living, parsed
from tradingd.config import load_settings
from tradingd.domain.ids import VenueId

BINANCE = VenueId("binance")
HTML = b"<html>\n<body>soon \x1b[2J " + b"x" * 200
RUBBISH = {
    "html": (HTML, "'<html> <body>soon \\x1b[2J xxx"),
    "a list": (b"[]", "'[]'"),
    "a time that is null": (b'{"now_ms":null,"speed":1,"stands_still":false,"finished":false}', '\'{"now_ms":null,'),
    "nothing": (b"", "an empty answer"),
    "half an object": (b'{"now_ms": 179', "'{\"now_ms\": 179'"),
}


def at(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"TRADINGD__DAEMON__STATE_DIR": str(tmp_path), **more}


@pytest.mark.parametrize("what", RUBBISH)
def test_an_endpoint_that_answers_rubbish_is_told_with_what_it_said(tmp_path: Path, what: str) -> None:
    body, said = RUBBISH[what]
    with answering(body, kind="application/json") as endpoint:
        done = tradingd("run", env=at(tmp_path, TRADINGD__VENUES__BINANCE__ENDPOINT=endpoint))
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 78 and "Traceback" not in done.stderr, done.stderr
    assert last.startswith(f"tradingd: {endpoint} answers, but is no tradingd venue: ") and said in last
    assert last.endswith("Correct venues.binance.endpoint, or remove it: a built-in binance is started then.")
    assert len(last) < 300


def test_an_answer_that_breaks_off_is_no_venue_either(tmp_path: Path) -> None:
    with answering(b'{"now_ms": 179', said_bytes=500) as endpoint:
        alone = at(tmp_path, TRADINGD__VENUES__BINANCE__ENDPOINT=endpoint, TRADINGD__VENUES__BYBIT__ENABLED="false")
        done = tradingd("run", env=alone)
    assert done.returncode == 78 and "Traceback" not in done.stderr, done.stderr
    assert f"{endpoint}" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "answer",
    [b"null", b'{"now_ms":9e99,"speed":1,"stands_still":false,"finished":false}', b'{"now_ms":1,"speed":0}', b"\xff"],
)
def test_a_time_that_no_calendar_holds_is_no_time(answer: bytes) -> None:
    assert parsed(Time, answer) is None


def test_a_note_whose_port_belongs_to_another_program_now_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "venues" / "binance").mkdir(parents=True)
    with answering(b"[]", kind="application/json") as endpoint:
        note = {"venue": "binance", "port": 1, "pid": 1, "endpoint": endpoint}
        (tmp_path / "venues" / "binance" / "venue.json").write_text(json.dumps(note))
        port = endpoint.rpartition(":")[2]
        alone = at(tmp_path, TRADINGD__VENUES__BINANCE__PORT=port, TRADINGD__VENUES__BYBIT__ENABLED="false")
        done = tradingd("run", env=alone)
    assert done.returncode == 78 and "Traceback" not in done.stderr, done.stderr
    assert f"cannot listen on 127.0.0.1:{port}: address already in use" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("body", [b"null", b"", HTML, b'{"venue": ["binance"]}', b'{"venue": "bybit"}'])
async def test_what_answers_otherwise_than_our_venue_is_not_attached_to(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "venues" / "binance").mkdir(parents=True)
    with answering(body, kind="application/json") as endpoint:
        (tmp_path / "venues" / "binance" / "venue.json").write_text(json.dumps({"endpoint": endpoint}))
        assert await living(load_settings(None, at(tmp_path)), BINANCE) is None


@pytest.mark.parametrize("note", ["[]", "null", "", "{", '{"endpoint": null}', '{"endpoint": "no url"}', '"\ud800"'])
async def test_a_note_that_is_rubbish_is_no_note(tmp_path: Path, note: str) -> None:
    (tmp_path / "venues" / "binance").mkdir(parents=True)
    (tmp_path / "venues" / "binance" / "venue.json").write_bytes(note.encode(errors="surrogatepass"))
    assert await living(load_settings(None, at(tmp_path)), BINANCE) is None
