"""Venue credentials: read from outside the config, held so that no log, error or pickle can show them."""

import hmac
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, NoReturn

from tradingd.config.problems import MASK, ConfigError, Problem
from tradingd.config.settings import Settings
from tradingd.config.source import parse_toml

_PARTS = ("api_key", "api_secret", "api_password")
_MAX_BYTES = 10_000
MQTT_PASSWORD = "mqtt_password"
_PRINTABLE = re.compile(r"[!-~]+")


class Secret:
    """A text that only `reveal()` shows; printing, formatting, comparing and pickling it give nothing away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself: for signing a request, and for the log scrubber that removes it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]  # no set or dict may hold it as a key

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is neither pickled nor copied")


@dataclass(frozen=True)
class Credentials:
    """What signs the requests to one venue. `origin` and `warnings` are for the log and name no secret."""

    api_key: Secret
    api_secret: Secret
    api_password: Secret | None
    origin: str
    warnings: tuple[str, ...] = ()

    def secrets(self) -> tuple[str, ...]:
        """The values that must appear in no log, journal or message."""
        return tuple(part.reveal() for part in (self.api_key, self.api_secret, self.api_password) if part)


SIM_CREDENTIALS = Credentials(Secret("sim-key"), Secret("sim-secret"), Secret("sim-password"), "built in")
"""The one account of every built-in venue: in mode sim nothing else is read, and no real key can leak into it."""


def load_credentials(venue_id: str, settings: Settings, environ: Mapping[str, str]) -> Credentials:
    """The credentials of a venue; the first source that has any of them must have all that it needs.

    Sources in order: $CREDENTIALS_DIRECTORY/<venue>_api_key, _api_secret and _api_password; the file of mode 0600 that
    `[venues.<id>] credentials_file` names; TRADINGD_<VENUE>_API_KEY and so on, with a warning. Raises ConfigError.
    """
    if settings.mode == "sim":
        return SIM_CREDENTIALS
    file = settings.venues[venue_id].credentials_file
    found = _from_directory(venue_id, environ.get("CREDENTIALS_DIRECTORY"))
    if not found and file is not None:
        found = _from_file(file)
    warnings: tuple[str, ...] = ()
    if not found:
        found = _from_environment(venue_id, environ)
        warnings = (
            f"the credentials of {venue_id} come from environment variables, which child processes inherit and /proc "
            "shows; use $CREDENTIALS_DIRECTORY or credentials_file instead",
        )
    return _checked(venue_id, settings, found, warnings)


@dataclass(frozen=True)
class MqttPassword:
    """What the MQTT broker asks for beside the user name. `warnings` are for the log and name no secret."""

    secret: Secret
    warnings: tuple[str, ...] = ()


def load_mqtt_password(settings: Settings, environ: Mapping[str, str]) -> MqttPassword | None:
    """The broker's password, None without a user name.

    Sources in order: $CREDENTIALS_DIRECTORY/mqtt_password; the file of mode 0600 that `[mqtt] password_file` names, its
    only line; TRADINGD_MQTT_PASSWORD, with a warning. Raises ConfigError.
    """
    if not settings.mqtt.enabled or not settings.mqtt.username:
        return None
    directory, file = environ.get("CREDENTIALS_DIRECTORY"), settings.mqtt.password_file
    try:
        if directory and (path := FilePath(directory, MQTT_PASSWORD)).exists():
            return _mqtt_password(path.read_bytes(), str(path))
        if file is not None:
            with file.open("rb") as stream:
                _refuse_if_shared(file, os.fstat(stream.fileno()))
                return _mqtt_password(stream.read(_MAX_BYTES), str(file))
    except OSError as error:
        raise _refusal(str(error.filename), f"it cannot be read: {(error.strerror or 'error').lower()}") from None
    if (text := environ.get("TRADINGD_MQTT_PASSWORD")) is None:
        allowed = f"$CREDENTIALS_DIRECTORY/{MQTT_PASSWORD}; or password_file in [mqtt]; or TRADINGD_MQTT_PASSWORD"
        place = settings.locate(("mqtt", "username"))
        raise ConfigError([Problem("mqtt.username is set and there is no password", place, allowed)])
    warning = (
        "the MQTT password comes from an environment variable, which child processes inherit and /proc shows; use "
        "$CREDENTIALS_DIRECTORY or password_file instead"
    )
    return _mqtt_password(text.encode(), "environment variable TRADINGD_MQTT_PASSWORD", (warning,))


def _mqtt_password(content: bytes, origin: str, warnings: tuple[str, ...] = ()) -> MqttPassword:
    text = _decoded(origin, content).rstrip("\r\n")
    if len(text) < 4 or not text.isprintable():
        raise _refusal(origin, "the MQTT password is shorter than 4 characters, or holds more than one line of text")
    return MqttPassword(Secret(text), warnings)


Found = dict[str, tuple[str, str]]  # part → (value, where it came from)


def _from_directory(venue_id: str, directory: str | None) -> Found:
    if not directory:
        return {}
    found: Found = {}
    for part in _PARTS:
        path = FilePath(directory, f"{venue_id}_{part}")
        try:
            with path.open("rb") as stream:
                found[part] = (_decoded(path, stream.read(_MAX_BYTES)), str(path))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _refusal(path, f"it cannot be read: {(error.strerror or 'error').lower()}") from None
    return found


def _from_file(path: FilePath) -> Found:
    try:
        with path.open("rb") as stream:
            _refuse_if_shared(path, os.fstat(stream.fileno()))
            text = _decoded(path, stream.read(_MAX_BYTES))
    except OSError as error:
        allowed = "a readable file of mode 0600, or no credentials_file"
        raise _refusal(path, f"it cannot be read: {(error.strerror or 'error').lower()}", allowed) from None
    try:
        table: dict[str, Any] = parse_toml(str(path), text)
    except ConfigError as error:
        # The problem's own text would show the line, and every line of this file holds a secret.
        place = error.problems[0].place
        line = getattr(place, "line", "?")
        raise _refusal(path, f"line {line} is not valid TOML", 'lines such as api_key = "…"') from None
    unknown = sorted(set(table) - set(_PARTS))
    if unknown or not all(isinstance(value, str) for value in table.values()):
        raise _refusal(path, "it holds something else than credentials", f"{', '.join(_PARTS)}, each a string")
    return {part: (value, str(path)) for part, value in table.items()}


def _refuse_if_shared(path: FilePath, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise _refusal(path, "it is not a regular file")
    if mode & 0o077:
        raise _refusal(path, f"its mode is {mode:04o}, so others may read it", f"mode 0600: chmod 600 {path}")


def _from_environment(venue_id: str, environ: Mapping[str, str]) -> Found:
    names = {part: f"TRADINGD_{venue_id.upper()}_{part.upper()}" for part in _PARTS}
    return {part: (environ[name], f"environment variable {name}") for part, name in names.items() if name in environ}


def _checked(venue_id: str, settings: Settings, found: Found, warnings: tuple[str, ...]) -> Credentials:
    if not found:
        allowed = (
            f"$CREDENTIALS_DIRECTORY/{venue_id}_api_key and {venue_id}_api_secret; or credentials_file in "
            f"[venues.{venue_id}]; or TRADINGD_{venue_id.upper()}_API_KEY and _API_SECRET"
        )
        place = settings.locate(("venues", venue_id))
        raise ConfigError([Problem(f"there are no credentials for {venue_id}", place, allowed)])
    secrets: dict[str, Secret] = {}
    for part, (text, origin) in found.items():
        value = text.strip()
        if not _PRINTABLE.fullmatch(value):
            raise _refusal(origin, f"{part} is empty, or holds blanks or other characters that no venue uses")
        secrets[part] = Secret(value)
    origin = next(iter(found.values()))[1]
    for part in ("api_key", "api_secret"):
        if part not in secrets:
            raise _refusal(origin, f"{part} of {venue_id} is missing beside it")
    return Credentials(secrets["api_key"], secrets["api_secret"], secrets.get("api_password"), origin, warnings)


def _decoded(path: FilePath | str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _refusal(path, "it is not text") from None


def _refusal(place: FilePath | str, message: str, allowed: str | None = None) -> ConfigError:
    return ConfigError([Problem(message, str(place), allowed)])
