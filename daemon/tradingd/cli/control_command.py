"""The commands that ask or tell a running daemon something, over its control socket."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tradingd.cli import exit_codes, status_text
from tradingd.cli.streams import Paint
from tradingd.gateway.commands import Reply, socket_path
from tradingd.gateway.control_client import DaemonUnreachable, ask

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: "Subparsers") -> None:
    """Add status, pause, resume, flatten, incidents and stop."""
    status = _added(subparsers, "status", "what the running daemon does, holds and misses")
    status.add_argument("--json", action="store_true", help="one JSON array with one object")
    pause = _added(subparsers, "pause", "deny entries until resume; exits and protection go on")
    pause.add_argument("--reason", default="", help="told by status, kept in the journal")
    _added(subparsers, "resume", "allow entries again")
    flatten = _added(subparsers, "flatten", "pause, cancel own entries and close positions")
    flatten.add_argument("--venue", help="only there; default: everywhere")
    flatten.add_argument("--symbol", help="only this instrument, as BTC/USDT:USDT")
    incidents = _added(subparsers, "incidents", "list incidents, or acknowledge one: incidents ack ID")
    incidents.add_argument("--json", action="store_true", help="one JSON array with one object per incident")
    incidents.add_argument("action", nargs="?", choices=["ack"], help="acknowledge the incident ID")
    incidents.add_argument("id", nargs="?", metavar="ID")
    _added(subparsers, "stop", "stop the running daemon in order; protection stays on the venue")


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """How to find the daemon: its config, or its socket itself."""
    parser.add_argument("--config", metavar="FILE", help="the daemon's; default: ./config.toml, else the shipped one")
    parser.add_argument("--socket", metavar="PATH", type=Path, help="the daemon's control socket, instead of --config")
    parser.add_argument("--timeout", metavar="S", type=float, default=60.0, help="seconds to wait for the answer")


def _added(subparsers: "Subparsers", name: str, text: str) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=text, allow_abbrev=False)
    add_connection_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Ask, and print the answer; returns the exit status."""
    command, arguments = args.command, {}
    if command == "incidents" and args.action == "ack":
        if not args.id:
            print("tradingd incidents ack: which one? Say its ID, as `tradingd incidents` lists it", file=sys.stderr)
            return exit_codes.USAGE
        command, arguments = "incidents_ack", {"id": args.id}
    elif command == "flatten":
        arguments = {name: value for name in ("venue", "symbol") if (value := getattr(args, name))}
    elif command == "pause" and args.reason:
        arguments = {"reason": args.reason}
    return tell(command, arguments, args)


def lift(argv: Sequence[str]) -> int:
    """`tradingd strategies lift ID`: let a quarantined strategy run again; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tradingd strategies lift", description="Let a quarantined strategy run again.", allow_abbrev=False
    )
    parser.add_argument("id", metavar="ID", help="the strategy's section in the config")
    add_connection_options(parser)
    args = parser.parse_args(argv)
    return tell("strategies_lift", {"id": args.id}, args)


def tell(command: str, arguments: dict[str, str], args: argparse.Namespace) -> int:
    """Send one control command and print its result; returns the exit status. Raises ConfigError."""
    try:
        reply = ask(_socket(args), command, arguments, args.timeout)
    except DaemonUnreachable as error:
        print(f"tradingd: {error}", file=sys.stderr)
        print(f"  {error.advice}", file=sys.stderr)
        return exit_codes.UNREACHABLE
    if not reply["ok"]:
        # the command's words as they were typed: strategies lift, incidents ack
        print(f"tradingd {command.replace('_', ' ')}: {status_text.safe(reply.get('error'))}", file=sys.stderr)
        return exit_codes.FAILED
    _print(command, reply, json_wanted=bool(getattr(args, "json", False)))
    return exit_codes.OK


def _socket(args: argparse.Namespace) -> Path:
    if args.socket is not None:
        return Path(args.socket)
    from tradingd.config import ConfigError, load_settings

    try:
        settings = load_settings(args.config, os.environ)
    except ConfigError:
        # whoever wants to flatten at night must not have to mend a file first
        told = "the config has mistakes, and tells not where the daemon is. One that runs goes on as it was"
        print(f"tradingd: {told}: tell it by its socket, --socket STATE_DIR/MODE.sock", file=sys.stderr)
        raise
    return socket_path(settings.daemon.state_dir, settings.mode).absolute()


def _print(command: str, reply: Reply, *, json_wanted: bool) -> None:
    result: dict[str, Any] = reply.get("result") or {}
    paint = Paint(sys.stdout, os.environ)
    if command == "status":
        print(json.dumps([result], ensure_ascii=False) if json_wanted else status_text.status(result, paint))
    elif command == "incidents":
        found = result.get("incidents") or []
        print(json.dumps(found, ensure_ascii=False) if json_wanted else status_text.incidents(found, paint))
    else:
        print(status_text.outcome(command, result))
