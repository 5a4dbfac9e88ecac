"""Logging: structlog, the standard library's loggers and every uncaught exception leave by this one door.

A line is rendered, then scrubbed, then written, each step without a way to raise into the caller.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Literal, Protocol

import structlog

from tradingd.telemetry import render
from tradingd.telemetry.console import ConsoleLine
from tradingd.telemetry.scrub import MASK, Scrubber
from tradingd.telemetry.sink import FdSink, Sink

Format = Literal["auto", "console", "json"]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
NOISY = ("ccxt", "aiohttp", "asyncio", "aiosqlite", "sqlalchemy", "alembic", "urllib3")
"""Libraries whose debug and info lines name keys, URLs or nothing of interest: heard from warning on."""

_METHOD_LEVELS = {"warn": "warning", "exception": "error", "err": "error", "fatal": "critical", "msg": "info"}


class WallClock(Protocol):
    """The part of the Clock port that a log needs."""

    def wall_ms(self) -> int:
        """The host's wall clock, ms UTC."""
        ...


class Logs:
    """The configured logging of this process. `scrubber.register(secret)` keeps a secret out of it from then on."""

    def __init__(self, clock: WallClock, sink: Sink, scrubber: Scrubber, *, json: bool, colour: bool) -> None:
        self._clock = clock
        self._sink = sink
        self.scrubber = scrubber
        self._json = json
        self._console = ConsoleLine(colour)
        self._iso = render.IsoTime()
        self._busy = threading.local()
        self._lock = threading.Lock()
        self._undo: list[Any] = []

    @property
    def is_json(self) -> bool:
        """Whether lines are JSON objects."""
        return self._json

    def write(self, level: str, event: str, fields: dict[str, Any], exc_info: render.ExcInfo | None = None) -> None:
        """One event, out. Whatever goes wrong in here costs at most the line, and the next line says so."""
        if getattr(self._busy, "now", False):
            return  # a __repr__ that logs, or a signal handler in the middle of a line
        self._busy.now = True
        try:
            with self._lock:
                self._write(level, event, fields, exc_info)
        except Exception as error:
            self._write_broken(event, error)
        finally:
            self._busy.now = False

    def _write(self, level: str, event: str, fields: dict[str, Any], exc_info: render.ExcInfo | None) -> None:
        if self._sink.lost_lines:
            lost = self._sink.take_lost()
            self._emit(self._line("warning", "log_lines_lost", {"count": lost}, None))
        if not self._json and (day := self._console.new_day(self._iso(self._clock.wall_ms()))):
            self._emit(day)
        line = self._line(level, event, fields, exc_info)
        if len(line) > render.MAX_LINE:
            line = self._line(level, event[: render.MAX_VALUE], self._shortened(fields), exc_info, shorten=True)
        self._emit(line)

    def _write_broken(self, event: str, error: Exception) -> None:
        try:
            self._emit(self._line("error", "log_line_broken", {"of": str(event), "error": repr(error)}, None))
        except Exception:
            # The clock or the error's own text fails: what is left is a constant.
            self._sink.write(b'{"level":"error","event":"log_line_broken"}\n')

    def _emit(self, line: str) -> None:
        self._sink.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def _line(
        self,
        level: str,
        event: str,
        fields: dict[str, Any],
        exc_info: render.ExcInfo | None,
        shorten: bool = False,
    ) -> str:
        time = self._iso(self._clock.wall_ms())
        plain = render.plain_fields(render.ordered(fields))
        trace = "" if exc_info is None else render.traceback_text(exc_info)
        if shorten:
            trace = _ends(self.scrubber.scrub(trace), 4 * render.MAX_VALUE)
        if self._json:
            if trace:
                plain["exception"] = trace
            line = render.json_line({"time": time, "level": level, "event": event, **plain})
        else:
            line = self._console(time, level, event, plain)
            if trace:
                line += self._console.block(trace)
        return self.scrubber.scrub(line)

    def _shortened(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Each value cut to its share. Scrubbed before it is cut: half a secret is still half a secret."""
        out: dict[str, Any] = {}
        for name, value in list(render.plain_fields(fields).items())[:40]:
            text = self.scrubber.scrub(value if isinstance(value, str) else render.json_line({"": value})[4:-1])
            out[self.scrubber.scrub(name)[:100]] = value if len(text) <= 200 else _ends(text, render.MAX_VALUE // 4)
        return out

    def structlog_processor(self, _logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> str:
        """structlog's last processor: writes the event itself, since only here nothing can raise."""
        fields = dict(event_dict)
        event = fields.pop("event", "")
        exc_info = _exc_info(fields.pop("exc_info", None))
        self.write(_METHOD_LEVELS.get(method, method), event if type(event) is str else str(event), fields, exc_info)
        raise structlog.DropEvent

    def uncaught(self, where: str, error: BaseException, fields: dict[str, Any] | None = None) -> None:
        """An exception that nobody caught, with its traceback."""
        shown = {"where": where, "error": f"{type(error).__name__}: {_safe_text(error)}", **(fields or {})}
        self.write("critical", "uncaught_exception", shown, (type(error), error, error.__traceback__))

    def on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """For `loop.set_exception_handler`: what asyncio would have said in many lines, scrubbed."""
        task = context.get("task") or context.get("future")
        name = task.get_name() if isinstance(task, asyncio.Task) else _safe_text(task) if task is not None else None
        error = context.get("exception")
        fields = {"message": context.get("message"), "task": name}
        if isinstance(error, BaseException):
            self.uncaught("event loop", error, fields)
        else:
            self.write("error", "event_loop_complained", fields)

    def close(self) -> None:
        """Give hooks and handlers back and write what is pending, for at most half a second."""
        while self._undo:
            self._undo.pop()()
        self._sink.close()


class _StdlibHandler(logging.Handler):
    """Lets the standard library's loggers speak through Logs."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: a wrong format string becomes the line instead."""
        if record.levelno < logging.WARNING and record.name.partition(".")[0] in NOISY:
            return
        try:
            message = record.getMessage()
        except Exception as error:
            message = f"{_safe_text(record.msg)} [arguments do not fit: {type(error).__name__}]"
        level = next((name for name, number in reversed(LEVELS.items()) if record.levelno >= number), "debug")
        fields = {"logger": record.name, "message": message}
        self._logs.write(level, "library_logged", fields, _exc_info(record.exc_info))


def configure(
    clock: WallClock,
    *,
    scrubber: Scrubber,
    format: Format = "auto",
    level: str = "info",
    environ: Mapping[str, str] | None = None,
    fd: int = 2,
    sink: Sink | None = None,
    is_terminal: bool | None = None,
) -> Logs:
    """Set up structlog, `logging`, warnings and the three excepthooks; `close()` of the result undoes the hooks.

    `auto` is `console` on a terminal and `json` elsewhere. Colour only on a terminal, without NO_COLOR in `environ`.
    """
    environ = environ or {}
    terminal = _is_terminal(fd) if is_terminal is None else is_terminal
    json = format == "json" or (format == "auto" and not terminal)
    colour = terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    logs = Logs(clock, sink or FdSink(fd), scrubber, json=json, colour=colour)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, logs.structlog_processor],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        context_class=dict,
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _capture_stdlib(logs, LEVELS[level])
    _capture_uncaught(logs)
    return logs


def _capture_stdlib(logs: Logs, level: int) -> None:
    root, handler = logging.getLogger(), _StdlibHandler(logs)
    before = (root.handlers[:], root.level, logging.raiseExceptions)
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.raiseExceptions = False
    for name in NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)

    def undo() -> None:
        logging.captureWarnings(False)
        root.handlers[:], logging.raiseExceptions = before[0], before[2]
        root.setLevel(before[1])
        for name in NOISY:
            logging.getLogger(name).setLevel(logging.NOTSET)
        structlog.reset_defaults()

    logs._undo.append(undo)


def _capture_uncaught(logs: Logs) -> None:
    before = sys.excepthook, threading.excepthook, sys.unraisablehook

    def in_main(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            logs.uncaught("main thread", error)

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            name = arguments.thread.name if arguments.thread else "a thread"
            logs.uncaught(name, arguments.exc_value)

    def nowhere(arguments: "sys.UnraisableHookArgs") -> None:
        if arguments.exc_value is not None:
            where = arguments.err_msg or "a destructor"
            logs.uncaught(where, arguments.exc_value, {"object": _safe_text(arguments.object)})

    sys.excepthook, threading.excepthook, sys.unraisablehook = in_main, in_thread, nowhere

    def undo() -> None:
        sys.excepthook, threading.excepthook, sys.unraisablehook = before

    logs._undo.append(undo)


def _exc_info(value: Any) -> render.ExcInfo | None:
    if value is True:
        value = sys.exc_info()
    if isinstance(value, BaseException):
        return type(value), value, value.__traceback__
    if isinstance(value, tuple) and len(value) == 3 and isinstance(value[1], BaseException):
        return value[0], value[1], value[2]
    return None


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _safe_text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _ends(text: str, length: int) -> str:
    """The first and the last part of a long text: an exception's message stands at its end."""
    if len(text) <= length:
        return text
    return f"{text[: length // 2]} … {len(text) - length} characters … {text[-(length // 2) :]}"


__all__ = ["LEVELS", "MASK", "Format", "Logs", "Scrubber", "WallClock", "configure"]
