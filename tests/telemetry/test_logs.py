"""Every line is one line, whatever is in it; and no secret is in it."""

import asyncio
import base64
import json
import logging
import os
import pathlib
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import numpy
import pandas  # type: ignore[import-untyped]
import pytest
import structlog

from tradingd.domain.instruments import InstrumentId
from tradingd.domain.intents import Side
from tradingd.telemetry import render
from tradingd.telemetry.logs import Scrubber

CANARY = "CaNaRy7Qq2+/=xZ9\"'\\ü-0123456789"
SECRET = "Kz7qT9vWm2Xc4Yb8Nd1Ef6Gh3Jl5Pr0S"


class Hostile:
    """A value whose every method fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


NASTY = {
    "nan": float("nan"),
    "infinity": float("-inf"),
    "decimal nan": Decimal("NaN"),
    "decimal huge": Decimal("1E+999999"),
    "decimal tiny": Decimal("1E-8"),
    "int huge": 10**30,
    "int absurd": 10**20_000,
    "numpy float": numpy.float64("nan"),
    "numpy int": numpy.int64(7),
    "numpy bool": numpy.bool_(True),
    "numpy array": numpy.arange(1_000_000),
    "numpy time": numpy.datetime64("2026-11-22"),
    "pandas time": pandas.Timestamp("2026-11-22T01:02:03Z"),
    "pandas not a time": pandas.NaT,
    "pandas na": pandas.NA,
    "series": pandas.Series([1.0, float("nan")]),
    "frame": pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    "datetime": datetime(2026, 11, 22, tzinfo=UTC),
    "enum": Side.BUY,
    "instrument": InstrumentId.parse("BTC/USDT:USDT@binance"),
    "lines": "one\ntwo\r\nthree\x0bfour\x0cfive\x85six\u2028seven\u2029eight\x1cnine",
    "terminal": "\x1b[2J\x1b]0;title\x07 \u202e reversed",
    "surrogate": "\ud800",
    "bytes": b"\xff\x00\n",
    "set": {3, 1, 2},
    "keys": {1: "a", None: "b", (1, 2): "c", "\n": "d"},
    "cycle": cyclic(),
    "hostile": Hostile(),
    "error": ValueError("bad\nvalue"),
    "long": "y" * 100_000,
    "many": list(range(100_000)),
}


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("name", NASTY)
def test_no_value_breaks_a_line(set_up, sink, format: str, name: str) -> None:
    set_up(format=format, is_terminal=True)
    structlog.get_logger().info("value_logged", value=NASTY[name], venue="binance")
    lines = sink.text.splitlines()
    assert len(lines) == 1 if format == "json" else len(lines) == 2 and "2026-11-22, times in UTC" in lines[0]
    assert sink.data.endswith(b"\n") and len(sink.data) < 2 * render.MAX_LINE
    assert b"value_logged" in sink.data and b"binance" in sink.data and b"log_line_broken" not in sink.data
    if format == "json":
        (event,) = sink.events
        assert event["event"] == "value_logged" and "value" in event
    else:
        assert lines[1].replace("\x1b[", "").isprintable()


def test_a_json_line_says_when_what_and_whom_in_that_order(set_up, sink) -> None:
    set_up()
    structlog.get_logger().info(
        "order_accepted", price=Decimal("0.00001"), cause="c", client_order_id="td-1", strategy=None, venue="binance"
    )
    (event,) = sink.events
    assert list(event) == ["time", "level", "event", "venue", "client_order_id", "cause", "price"]
    assert event["time"] == "2026-11-22T18:03:11.123Z"
    assert event["level"] == "info"
    assert event["price"] == "0.00001"


def test_a_line_for_people_has_columns(set_up, sink) -> None:
    set_up(format="console", is_terminal=False)
    log = structlog.get_logger()
    log.info("order_accepted", side=Side.BUY, venue="binance", instrument="BTC/USDT:USDT@binance", strategy="trend")
    log.warning("stream_lost", venue="binance", reason="it went away")
    log.critical("incident_raised", kind="unprotected")
    day, first, second, third = sink.text.splitlines()
    time = "18:03:11.123Z"
    assert day == "2026-11-22, times in UTC"
    assert first == f"{time} info  order_accepted         BTC/USDT:USDT@binance trend buy"
    assert second == f'{time} WARN  stream_lost            binance               reason="it went away"'
    assert third == f"{time} CRIT  incident_raised        unprotected"


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(set_up, sink, terminal: bool, environ, coloured: bool) -> None:
    set_up(format="console", is_terminal=terminal, environ=environ)
    structlog.get_logger().info("order_accepted", side="buy")
    assert ("\x1b[" in sink.text) is coloured


@pytest.mark.parametrize(("terminal", "json_lines"), [(True, False), (False, True)])
def test_auto_is_for_people_on_a_terminal_and_json_elsewhere(set_up, terminal: bool, json_lines: bool) -> None:
    assert set_up(format="auto", is_terminal=terminal).is_json is json_lines


def test_levels_below_the_configured_one_are_silent(set_up, sink) -> None:
    set_up(level="warning")
    structlog.get_logger().info("candle_closed")
    logging.getLogger("somewhere").info("hello")
    assert sink.data == b""


def test_the_context_of_a_task_is_on_its_lines(set_up, sink) -> None:
    set_up()
    with structlog.contextvars.bound_contextvars(cause="boot"):
        structlog.get_logger().info("order_adopted")
    assert sink.events[0]["cause"] == "boot"


def leak(secret: str) -> None:
    raise ValueError(f"signature of {secret!r} refused, sent as {quote(secret, safe='')}")


def say_it_everywhere(log: Any, secret: str) -> None:
    """The canary through every door, in every form."""
    forms = [
        secret,
        quote(secret, safe=""),
        base64.b64encode(b"user:" + secret.encode()).decode(),
        secret.encode().hex(),
        json.dumps({"a": secret}),
        repr({"a": [secret]}),
    ]
    for form in forms:
        log.info("said", value=form)
        log.info("said", value={"nested": [{"deep": form}], form: 1}, k=numpy.array([form]))
        log.info(f"in the event {form}")
        log.info("said", value=f"{'z' * (render.MAX_LINE - 40)}{form}", other="w" * 100_000)
        log.info("said", value=["z" * (10_000 - 7) + form])
        logging.getLogger("ccxt.base.exchange").warning("request %s", form)
        logging.getLogger("aiohttp.client").error("no format fits %d", form)
        warnings.warn(f"careful with {form}", stacklevel=1)
    try:
        leak(secret)
    except ValueError as error:
        log.exception("it_broke", error=error)
        logging.getLogger("asyncio").exception("it broke")


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("secret", [CANARY, SECRET], ids=["awkward", "plain"])
def test_a_canary_occurs_in_no_rendered_byte(set_up, sink, format: str, secret: str) -> None:
    scrubber = Scrubber()
    scrubber.register(secret)
    logs = set_up(format=format, is_terminal=True, scrubber=scrubber)
    say_it_everywhere(structlog.get_logger(), secret)
    try:
        leak(secret)
    except ValueError as error:
        logs.uncaught("here", error, {"locals": {"secret": secret}})
    assert sink.text.count("********") > 40
    encoded = base64.b64encode(b"user:" + secret.encode()).decode()
    pieces = [secret[:10], secret[5:18], secret.encode().hex()[10:30], quote(secret, safe="")[4:16], encoded[12:24]]
    for piece in pieces:
        assert piece not in sink.text
    assert b"log_line_broken" not in sink.data


def test_library_chatter_is_heard_from_warning_on_even_if_the_library_turns_it_up(set_up, sink) -> None:
    set_up(level="debug")
    noisy = logging.getLogger("ccxt.base.exchange")
    noisy.setLevel(logging.DEBUG)
    noisy.info("apiKey=…")
    noisy.warning("deprecated")
    noisy.setLevel(logging.NOTSET)
    logging.getLogger("ours").info("this one is heard")
    assert [event["message"] for event in sink.events] == ["deprecated", "this one is heard"]


async def test_what_the_event_loop_complains_about_is_one_line(set_up, sink) -> None:
    scrubber = Scrubber()
    scrubber.register(SECRET)
    logs = set_up(scrubber=scrubber)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.on_loop_exception)
    loop.call_soon(leak, SECRET)
    await asyncio.sleep(0)
    loop.call_exception_handler({"message": "strange", "future": loop.create_future()})
    loop.set_exception_handler(None)
    first, second = sink.events
    assert first["event"] == "uncaught_exception" and first["level"] == "critical"
    assert "in leak" in first["exception"] and SECRET not in sink.text
    assert second["event"] == "event_loop_complained" and second["message"] == "strange"


def test_an_exception_in_a_thread_is_one_line(set_up, sink) -> None:
    set_up()
    thread = threading.Thread(target=leak, args=("nothing",), name="writer")
    thread.start()
    thread.join()
    (event,) = sink.events
    assert event["where"] == "writer" and event["level"] == "critical"


def test_an_exception_in_a_destructor_is_one_line(set_up, sink) -> None:
    class Falls:
        def __del__(self) -> None:
            raise ValueError("fell")

    set_up()
    Falls()
    (event,) = sink.events
    assert event["event"] == "uncaught_exception" and "fell" in event["error"]


def test_an_error_that_cannot_be_shown_still_makes_a_line(set_up, sink) -> None:
    logs = set_up()
    logs.uncaught("here", HostileError())
    structlog.get_logger().info("said", error=HostileError())
    assert [event["event"] for event in sink.events] == ["uncaught_exception", "said"]


def test_a_clock_that_fails_costs_the_line_and_nothing_else(set_up, sink, clock) -> None:
    set_up()
    clock.wall_ms = lambda: 1 // 0
    structlog.get_logger().info("said")
    assert sink.events == [{"level": "error", "event": "log_line_broken"}]


def test_a_value_that_logs_while_it_is_shown_does_not_recurse(set_up, sink) -> None:
    class Talks:
        def __repr__(self) -> str:
            structlog.get_logger().info("again", value=self)
            return "talks"

    set_up()
    structlog.get_logger().info("said", value=Talks())
    assert [event["event"] for event in sink.events] == ["said"]


def test_lost_lines_are_told_of_by_the_next_line(set_up, sink) -> None:
    set_up()
    sink.lost_lines = 7
    structlog.get_logger().info("said")
    assert [event["event"] for event in sink.events] == ["log_lines_lost", "said"]
    assert sink.events[0]["count"] == 7


def test_close_gives_the_hooks_back(set_up) -> None:
    root = logging.getLogger()
    before = (sys.excepthook, threading.excepthook, sys.unraisablehook, root.handlers[:], root.level)
    set_up().close()
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook, root.handlers[:], root.level) == before


def test_two_threads_never_mix_their_lines(set_up, sink) -> None:
    set_up()

    def talk(name: str) -> None:
        for number in range(300):
            structlog.get_logger().info("said", name=name, number=number)

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sink.events) == 900


PROGRAM = """
import sys, structlog
from tradingd.telemetry.logs import Scrubber, configure

class Clock:
    def wall_ms(self): return 1795370591123

scrubber = Scrubber()
scrubber.register(sys.argv[1])
logs = configure(Clock(), scrubber=scrubber)
structlog.get_logger().info("started", key=sys.argv[1])
secret = sys.argv[1]
raise RuntimeError("refused: " + sys.argv[1])
"""


def test_a_process_that_dies_of_an_exception_shows_no_secret(tmp_path: pathlib.Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, SECRET], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and done.stdout == ""
    assert SECRET not in done.stderr
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == ["started", "uncaught_exception"]


def test_a_process_without_stderr_runs_on(tmp_path: pathlib.Path) -> None:
    program = PROGRAM.replace('raise RuntimeError("refused: " + sys.argv[1])', f"open({str(tmp_path / 'done')!r}, 'w')")
    command = f'exec "{sys.executable}" -c "$0" {SECRET} 2>&-'
    done = subprocess.run(["sh", "-c", command, program], timeout=30)
    assert done.returncode == 0 and (tmp_path / "done").exists()
    assert os.path.getsize(tmp_path / "done") == 0
