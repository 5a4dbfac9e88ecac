"""Variables that begin like ours and set nothing: a limit that somebody believes to be set is worse than none."""

from collections.abc import Iterator, Mapping
from typing import Any

from tradingd.config.problems import Problem, nearest
from tradingd.config.schema import known_keys
from tradingd.config.settings import VENUES
from tradingd.config.source import ENV_FORM, ENV_PREFIX, VARIABLE, Problems

STRAY_PREFIX = "TRADINGD_"
PASSED_OVER = frozenset({"TRADINGD_ARGS"})
"""Of `make run`, which hands it on to all that it starts."""
_CREDENTIALS = ("API_KEY", "API_SECRET", "API_PASSWORD")


def refuse_strays(raw: Mapping[str, Any], environ: Mapping[str, str], problems: Problems) -> None:
    """Names each variable that is neither a setting nor a credential, and the one that it was most likely meant to be.
    Those that begin with TRADINGD__ are settings, and told where they are read.
    """
    credentials = set(_credentials(raw))
    known = {_folded(name): name for name in (*_settings(raw), *credentials)}
    for variable in sorted(environ):
        if not variable.startswith(STRAY_PREFIX) or variable in credentials or variable in PASSED_OVER:
            continue
        if not variable.startswith(ENV_PREFIX):
            near = known.get(nearest(_folded(variable), known) or "")
            allowed = f"{ENV_FORM}; TRADINGD_<VENUE>_API_KEY and the like for credentials"
            problems.add(Problem("it sets nothing", f"{VARIABLE}{variable}", allowed, near))


def _folded(variable: str) -> str:
    """What tells one name from another: without what all begin with, and one underscore for two, the usual slip."""
    return variable.upper().replace("__", "_").removeprefix(STRAY_PREFIX)


def _credentials(raw: Mapping[str, Any]) -> Iterator[str]:
    yield f"{STRAY_PREFIX}MQTT_PASSWORD"
    for venue in {*VENUES, *_table(raw, "venues")}:
        for part in _CREDENTIALS:
            yield f"{STRAY_PREFIX}{venue.upper()}_{part}"


def _settings(raw: Mapping[str, Any]) -> Iterator[str]:
    for section in known_keys(()):
        if section not in ("venues", "strategies"):
            yield from (_variable(section, key) for key in known_keys((section,)))
            continue
        for name, table in _table(raw, section).items():
            keys = {*known_keys((section, name)), *(table if isinstance(table, dict) else ())}
            yield from (_variable(section, name, key) for key in sorted(keys))


def _table(raw: Mapping[str, Any], section: str) -> dict[str, Any]:
    table = raw.get(section)
    return table if isinstance(table, dict) else {}


def _variable(*path: str) -> str:
    return ENV_PREFIX + "__".join(part.upper() for part in path)
