"""The way from the words on the command line to the module that does it."""

import argparse
import contextlib
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from tradingd import __version__
from tradingd.cli import exit_codes
from tradingd.cli.streams import discard_stdout, open_standard_streams
from tradingd.domain.errors import JournalError, JournalRefused, TradingdError, VenueError

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_CONTROL = "tradingd.cli.control_command"
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("tradingd.cli.run_command", "trade: start the daemon"),
    "status": (_CONTROL, "what the running daemon does, holds and misses"),
    "pause": (_CONTROL, "deny entries until resume; exits and protection go on"),
    "resume": (_CONTROL, "allow entries again"),
    "flatten": (_CONTROL, "pause, cancel own entries and close positions"),
    "incidents": (_CONTROL, "list incidents, or acknowledge one"),
    "stop": (_CONTROL, "stop the running daemon in order"),
    "journal": ("tradingd.cli.journal_command", "ask the journal: query, orders, fills, trades, decisions, why"),
    "strategies": ("tradingd.cli.strategies_command", "list, new, check; lift a quarantine"),
    "config": ("tradingd.cli.config_command", "check, show or describe the settings"),
    "venue": ("tradingd.cli.venue_command", "run a built-in venue by itself"),
    "quirks": (
        "tradingd.cli.quirks_command",
        "what is special about each venue: why, whence, and which test guards it",
    ),
    "version": ("tradingd.cli.version_command", "print the versions of tradingd and of what it stands on"),
}
"""Each command's module and its line of help. A module is imported only for its own commands: ccxt takes a second."""


class CommandModule(Protocol):
    """What a command's module offers."""

    def add_parser(self, subparsers: "Subparsers") -> None:
        """Add the parsers of all its commands."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit status."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (see exit_codes). Without `argv` this is the process's own command line,
    and the process ends here."""
    return _main(argv) if argv is not None else _run_to_the_end()


def _run_to_the_end() -> NoReturn:
    """The one place where the process ends: at once, since Python would wait for each thread that a plugin started."""
    status = exit_codes.FAILED
    try:
        try:
            status = _main(sys.argv[1:])
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed: nothing is left to say
                stream.flush()
    finally:
        os._exit(status)


def _main(argv: Sequence[str]) -> int:
    open_standard_streams()
    try:
        try:
            status = _dispatch(list(argv))
        except SystemExit as exit:
            status = exit.code if isinstance(exit.code, int) else exit_codes.OK
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted.
        discard_stdout()
        return exit_codes.OK
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except TradingdError as error:
        print(f"tradingd: {error}", file=sys.stderr)
        return _status_of(error)
    except OSError as error:
        discard_stdout()
        print(f"tradingd: {error}", file=sys.stderr)
        return exit_codes.IO_ERROR
    return status


def _dispatch(argv: list[str]) -> int:
    if argv[:2] == ["strategies", "lift"]:
        # Of the strategy commands the one that talks to a running daemon.
        from tradingd.cli import control_command

        return control_command.lift(argv[2:])
    name = argv[0] if argv and argv[0] in COMMANDS else None
    if name is None and argv and not argv[0].startswith("-"):
        return _no_such_command(argv[0])
    module = None if name is None else _load(COMMANDS[name][0])
    arguments = _parser(name, module).parse_args(argv)
    if module is None:
        raise AssertionError("argparse lets no unknown command pass")
    return module.run(arguments)


def _no_such_command(word: str) -> int:
    begun = [name for name in COMMANDS if name.startswith(word)]
    near = begun or difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean `tradingd {near[0]}`?" if near else "`tradingd --help` tells what each does."
    print(f"tradingd: no command {word!r}; {hint} There are {', '.join(COMMANDS)}.", file=sys.stderr)
    return exit_codes.USAGE


def _parser(chosen: str | None, module: CommandModule | None) -> argparse.ArgumentParser:
    """The parser with the chosen command's options; of the other commands only their names are needed."""
    parser = argparse.ArgumentParser(
        prog="tradingd",
        description="Trades USDT-margined perpetuals, and can prove what it did.",
        epilog=exit_codes.EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tradingd {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND [OPTIONS]", title="commands")
    for name, (path, text) in COMMANDS.items():
        if module is None or path != COMMANDS[cast(str, chosen)][0]:
            subparsers.add_parser(name, help=text)
        elif name == chosen:
            module.add_parser(subparsers)
    return parser


def _load(path: str) -> CommandModule:
    return cast(CommandModule, importlib.import_module(path))


def _status_of(error: TradingdError) -> int:
    own = getattr(error, "exit_status", None)
    if isinstance(own, int):
        return own
    if isinstance(error, JournalRefused):
        return exit_codes.CONFIG
    if isinstance(error, JournalError):
        return exit_codes.IO_ERROR
    if isinstance(error, VenueError):
        return exit_codes.UNREACHABLE
    return exit_codes.FAILED
