"""Reads and checks a configuration: the file, then the environment over it, then every rule; all problems at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tradingd.config.locate import Path
from tradingd.config.problems import nearest
from tradingd.config.resources import default_config_path
from tradingd.config.rules import cross_check
from tradingd.config.schema import allowed_at, choices_at, known_keys
from tradingd.config.settings import Settings
from tradingd.config.source import Problems, Source, read_source
from tradingd.config.strays import refuse_strays

_SHOWN = 60
_NAME_FORM = "lower-case letters, digits and single underscores, a letter first, at most 32"


def find_config(given: str | FilePath | None) -> FilePath:
    """The config file to use: the one given, else ./config.toml, else the one that is shipped."""
    if given is not None:
        return FilePath(given)
    local = FilePath("config.toml")
    return local if local.exists() else default_config_path()


def load_settings(path: str | FilePath | None, environ: Mapping[str, str]) -> Settings:
    """The settings of the file (see `find_config`) with `TRADINGD__SECTION__KEY` over them.

    Raises ConfigError, which holds every problem that was found and has `exit_status` 78.
    """
    source, problems = read_source(find_config(path), environ)
    _resolve_paths(source)
    _name_plugins(source)
    settings = _validate(source, problems)
    cross_check(source.raw, problems)
    refuse_strays(source.raw, environ, problems)
    problems.raise_if_any()
    if settings is None:
        raise AssertionError("settings without problems must validate")
    settings = settings.model_copy(
        update={"strategies": MappingProxyType({
            name: section for name, section in settings.strategies.items() if name not in settings.resting
        })}
    )
    settings._source = source
    return settings


def _validate(source: Source, problems: Problems) -> Settings | None:
    try:
        return Settings.model_validate(source.raw)
    except ValidationError as error:
        details = error.errors(include_url=False)
    texts = [detail["loc"] for detail in details if detail["type"] == "string_type"]
    if any(_restore_text(source, path) for path in texts):
        return _validate(source, problems)
    # of a bad element pydantic also says that its array is too short
    around = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    for detail in details:
        if detail["loc"] not in around:
            _explain(source, detail, problems)
    return None


def _restore_text(source: Source, path: Path) -> bool:
    """Gives a string setting the text of its variable back where that text happened to read as another TOML value."""
    value = source.from_env.get(path)
    if value is None:
        return False
    table = source.raw
    for part in path[:-1]:
        table = table[cast(str, part)]
    table[cast(str, path[-1])] = value.text
    return True


def _explain(source: Source, detail: ErrorDetails, problems: Problems) -> None:
    """Turns one of pydantic's findings into ours: name, place, what is allowed, nearest."""
    path = tuple(part for part in detail["loc"] if part != "[key]")
    table, name = ".".join(str(part) for part in path[:-1]), path[-1]
    if problems.knows(path) or (name == "plugin" and path in source.implied):
        return
    if "[key]" in detail["loc"]:
        problems.at(path, f"the name {name!r} cannot be used", allowed=_NAME_FORM, of_key=True)
    elif detail["type"] == "extra_forbidden":
        problems.unknown(path, "key" if table else "section", known_keys(path[:-1]))
    elif detail["type"] == "missing":
        near = nearest(str(name), _extras(source.raw, path[:-1]))
        meant = f"{near}, which is there now" if near else None
        problems.at(path, f"the key {name!r} is missing in [{table}]", allowed=allowed_at(path), nearest=meant)
    else:
        value = detail["input"]
        # A validator of ours that knows more than "this is wrong" says it; all else is told in one form.
        message = detail["msg"] if detail["type"] == "instrument" else f"{table}.{name} is {_shown(value)}"
        choices = choices_at(path) if isinstance(value, str) else ()
        problems.at(path, message.removeprefix("."), allowed=allowed_at(path), nearest=nearest(str(value), choices))


def _extras(raw: Any, path: Path) -> Iterator[str]:
    """The keys of a table that its model does not declare, where a misspelt one may hide."""
    table = raw
    for part in path:
        table = table.get(part, {}) if isinstance(table, dict) else {}
    known = set(known_keys(path))
    return (name for name in table if name not in known)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _resolve_paths(source: Source) -> None:
    """Makes paths absolute: those in the file are relative to it, those in variables to the working directory."""
    daemon = source.raw.setdefault("daemon", {})
    if isinstance(daemon, dict):
        daemon.setdefault("strategies_dir", "strategies")
        _resolve(source, daemon, ("daemon", "strategies_dir"))
    mqtt = source.raw.get("mqtt")
    if isinstance(mqtt, dict):
        _resolve(source, mqtt, ("mqtt", "ca_file"))
        _resolve(source, mqtt, ("mqtt", "password_file"))
    venues = source.raw.get("venues")
    for venue, table in venues.items() if isinstance(venues, dict) else ():
        if isinstance(table, dict):
            _resolve(source, table, ("venues", venue, "credentials_file"))
            _resolve(source, table, ("venues", venue, "candles"))
            _resolve(source, table, ("venues", venue, "faults"))


def _resolve(source: Source, table: dict[str, Any], path: Path) -> None:
    name = cast(str, path[-1])
    value = table.get(name)
    if isinstance(value, str) and value:
        base = FilePath.cwd() if source.env_of(path) else source.directory
        table[name] = str(base / FilePath(value).expanduser())


def _name_plugins(source: Source) -> None:
    """A section without `plugin` names the plugin by its own name."""
    strategies = source.raw.get("strategies")
    for name, table in strategies.items() if isinstance(strategies, dict) else ():
        if isinstance(table, dict) and "plugin" not in table:
            table["plugin"] = name
            source.implied.add(("strategies", name, "plugin"))
