"""The raw settings: the file, the environment over it, and for each value where it came from."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path as FilePath
from typing import Any

from tradingd.config.locate import Located, Path, Span, locate
from tradingd.config.problems import ConfigError, Position, Problem, is_secret_name, is_secret_value, nearest

ENV_PREFIX = "TRADINGD__"
ENV_FORM = f"{ENV_PREFIX}SECTION__KEY, e.g. {ENV_PREFIX}DAEMON__SPEED"
VARIABLE = "environment variable "
"""How a place begins that is a variable."""
MAX_FILE_BYTES = 1_000_000
_AT = re.compile(r"\(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclass(frozen=True)
class EnvValue:
    """A setting from the environment: the variable's name, and its text before it was read as TOML."""

    variable: str
    text: str


@dataclass
class Source:
    """One configuration as it was given: `raw` values, and the places to blame. `file` is as the user wrote it."""

    file: str
    directory: FilePath
    text: str
    raw: dict[str, Any]
    located: Located = field(default_factory=Located)
    from_env: dict[Path, EnvValue] = field(default_factory=dict)
    implied: set[Path] = field(default_factory=set)

    def env_of(self, path: Path) -> EnvValue | None:
        """The variable that set the value at `path` or a table or array around it, if one did."""
        for depth in range(len(path), 0, -1):
            if path[:depth] in self.from_env:
                return self.from_env[path[:depth]]
        return None

    def _env_inside(self, path: Path) -> EnvValue | None:
        """The variable that alone made the table at `path`, which the file does not have."""
        if path in self.located.keys:
            return None
        return next((value for inner, value in self.from_env.items() if path and inner[: len(path)] == path), None)

    def place(self, path: Path, *, of_key: bool = False) -> Position | str:
        """Where the value (or key) at `path` stands; for what is absent, the nearest table or array around it."""
        value = self.env_of(path) or self._env_inside(path)
        if value:
            return f"{VARIABLE}{value.variable}"
        for depth in range(len(path), 0, -1):
            near = path[:depth]
            prefer_key = of_key or depth < len(path)
            first, second = (self.located.keys, self.located.values)[:: 1 if prefer_key else -1]
            span = first.get(near) or second.get(near)
            if span:
                return Position.of(self.file, self.text, span)
        return self.file

    def origin(self, path: Path) -> str:
        """Where an effective value comes from, in words for `config show`."""
        place = self.place(path)
        if isinstance(place, str) and place != self.file:
            return place
        known = any(path[:depth] in self.located.values for depth in range(len(path), 0, -1))
        return f"{place.file} line {place.line}" if known and isinstance(place, Position) else "default"


class Problems:
    """Collects problems of one configuration; `raise_if_any` raises them all at once as ConfigError."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._found: list[Problem] = []
        self._paths: set[Path] = set()

    def at(
        self,
        path: Path,
        message: str,
        *,
        allowed: str | None = None,
        nearest: str | None = None,
        of_key: bool = False,
    ) -> None:
        """Adds a problem of the value (or, `of_key`, of the name) at `path`, e.g. ("strategies", "trend", "fast")."""
        self._paths.add(path)
        self._found.append(Problem(message, self._source.place(path, of_key=of_key), allowed, nearest))

    def unknown(self, path: Path, what: str, known: Iterable[str]) -> None:
        """Adds "unknown `what`" for the last name in `path`, with those that are known and the nearest of them."""
        names = sorted(known)
        where = f" in [{'.'.join(map(str, path[:-1]))}]" if len(path) > 1 else ""
        self.at(
            path,
            f"unknown {what} {path[-1]!r}{where}",
            allowed=", ".join(names) or "none",
            nearest=nearest(str(path[-1]), names),
            of_key=True,
        )

    def add(self, problem: Problem) -> None:
        """Adds a problem whose place is already known."""
        self._found.append(problem)

    def knows(self, path: Path) -> bool:
        """Whether the value at `path` has a problem already, so that no second one need be told."""
        return path in self._paths

    @property
    def found(self) -> tuple[Problem, ...]:
        """What was found so far."""
        return tuple(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raises ConfigError with everything found, in the order of the file; places without a line come last."""
        if self._found:
            raise ConfigError(sorted(self._found, key=_order))


def _order(problem: Problem) -> tuple[int, int, int]:
    place = problem.place
    return (0, place.line, place.column) if isinstance(place, Position) else (1, 0, 0)


def read_source(path: FilePath, environ: Mapping[str, str]) -> tuple[Source, Problems]:
    """The file at `path` with the environment applied. Raises ConfigError when it is no TOML at all."""
    name = str(path)
    text = read_text(path, "the config file", "a readable TOML file; name one with --config FILE")
    source = Source(name, path.resolve().parent, text, parse_toml(name, text), locate(text))
    problems = Problems(source)
    _apply_environment(source, environ, problems)
    _refuse_secrets(source, source.raw, (), problems)
    _refuse_non_finite(source.raw, (), problems)
    return source, problems


def parse_toml(name: str, text: str) -> dict[str, Any]:
    """The TOML in `text`, floats as Decimal. Raises ConfigError with line, column and caret."""
    try:
        return tomllib.loads(text, parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        match = _AT.search(str(error))
        what = _AT.sub("", str(error)).strip().rstrip(".")
        offset = len(text.rstrip("\n"))
        if match and match[1]:
            lines = text.split("\n")
            offset = sum(len(line) + 1 for line in lines[: int(match[1]) - 1]) + int(match[2]) - 1
        message = f"not valid TOML: {what[:1].lower()}{what[1:]}"
        problem = Problem(message, Position.of(name, text, Span(offset, offset + 1)), "see https://toml.io/en/v1.0.0")
        raise ConfigError([problem]) from None
    except RecursionError:
        raise ConfigError([Problem("not usable TOML: nested too deeply", name)]) from None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond what Decimal takes
        return Decimal("nan")


def read_text(path: FilePath, what: str, allowed: str) -> str:
    """The text of a file that a human writes; `what` and `allowed` are for the error. Raises ConfigError."""
    name = str(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError([Problem(f"{what} cannot be read: {reason}", name, allowed)]) from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError([Problem(f"{what} is larger than {MAX_FILE_BYTES} bytes", name)])
    try:
        return content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem(f"line {line} is not UTF-8 (byte {error.start})", name, "UTF-8 without exception")
        raise ConfigError([problem]) from None


def _apply_environment(source: Source, environ: Mapping[str, str], problems: Problems) -> None:
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX):
            continue
        text = environ[variable]
        parts = variable.removeprefix(ENV_PREFIX).split("__")
        place = f"{VARIABLE}{variable}"
        if len(parts) < 2 or not all(parts):
            problems.add(Problem("it names no setting", place, ENV_FORM))
            continue
        _set(source, parts, EnvValue(variable, text), problems)


def _set(source: Source, parts: list[str], value: EnvValue, problems: Problems) -> None:
    table: dict[str, Any] = source.raw
    path: Path = ()
    for position, part in enumerate(parts):
        # Variables are upper case by custom: a key of the file that differs only in case is the one that is meant.
        name = next((key for key in table if key.lower() == part.lower()), part.lower())
        path = (*path, name)
        if position == len(parts) - 1:
            table[name] = _toml_value(value.text)
            source.from_env[path] = value
            return
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            message = f"{'.'.join(map(str, path))} is a value, nothing can be set inside it"
            problems.add(Problem(message, f"{VARIABLE}{value.variable}"))
            return
        table = inner


def _toml_value(text: str) -> Any:
    """A TOML value where the text is one, else the text itself, so that strings need no quotes in a shell."""
    try:
        document = tomllib.loads(f"value = {text.strip()}", parse_float=_decimal)
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return document["value"] if len(document) == 1 else text


def _refuse_secrets(source: Source, table: dict[str, Any], path: Path, problems: Problems) -> None:
    """Names secrets in the file, and takes them out of `raw`, so that nothing later can show them."""
    for name in list(table):
        inner = (*path, name)
        value = table[name]
        secret = is_secret_name(name) and not isinstance(value, dict)
        if secret or (path[:1] == ("venues",) and isinstance(value, str) and is_secret_value(value)):
            del table[name]
            place = source.place(inner, of_key=True)
            where = "the environment" if isinstance(place, str) and place != source.file else "the config file"
            message = f"{'.'.join(map(str, inner))} looks like a secret, and secrets are never in {where}"
            allowed = (
                "$CREDENTIALS_DIRECTORY/<venue>_api_key, a file of mode 0600 named by credentials_file, "
                "or TRADINGD_<VENUE>_API_KEY in the environment"
            )
            if path[:1] == ("mqtt",):
                allowed = "$CREDENTIALS_DIRECTORY/mqtt_password, or a file of mode 0600 named by password_file"
            problems.add(Problem(message, place, allowed))
        elif isinstance(value, dict):
            _refuse_secrets(source, value, inner, problems)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    _refuse_secrets(source, item, (*inner, index), problems)


def _refuse_non_finite(value: Any, path: Path, problems: Problems) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_non_finite(item, (*path, name), problems)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_non_finite(item, (*path, index), problems)
    elif isinstance(value, Decimal) and not value.is_finite():
        problems.at(path, f"{'.'.join(map(str, path))} is {value}, not a number", allowed="a finite number")
