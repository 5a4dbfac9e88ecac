"""Rules between settings. They look at the raw tables, so that they speak even where a single value is wrong too."""

from collections.abc import Iterator
from typing import Any

from tradingd.config.locate import Path
from tradingd.config.problems import nearest
from tradingd.config.settings import (
    FOREIGN_POSITION_NOT_BUILT,
    MODES_NOT_BUILT,
    VENUES,
    VENUES_BUILT,
    ExecutionSettings,
    RiskSettings,
    VenueSettings,
)
from tradingd.config.source import Problems
from tradingd.domain.instruments import InstrumentId

Raw = dict[str, Any]


def cross_check(raw: Raw, problems: Problems) -> None:
    """Adds what is wrong between values that are right each for itself."""
    _modes(raw, problems)
    _venues(raw, problems)
    _execution(raw, problems)
    _instruments(raw, problems)
    _mqtt(raw, problems)


def _table(raw: Raw, name: str) -> Raw:
    table = raw.get(name, {})
    return table if isinstance(table, dict) else {}


def _tables(raw: Raw, name: str) -> Iterator[tuple[str, Raw]]:
    return ((key, table) for key, table in _table(raw, name).items() if isinstance(table, dict))


def _integer(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _modes(raw: Raw, problems: Problems) -> None:
    daemon = _table(raw, "daemon")
    mode = daemon.get("mode", "sim")
    if mode in MODES_NOT_BUILT:
        problems.at(("daemon", "mode"), f"mode {mode} is not built yet", allowed="sim, testnet, live")
    real = mode in ("testnet", "live")
    if real and _integer(daemon.get("speed"), 1) > 1:
        message = f"only sim time can run faster, and the mode is {mode}"
        problems.at(("daemon", "speed"), message, allowed="1, or mode sim")
    for name, venue in _tables(raw, "venues"):
        if mode == "testnet" and venue.get("enabled", True) is not False and "endpoint" not in venue:
            # without one the client would speak to the venue's real hosts, whatever the mode is called
            message = f"the test network of {name} is not built yet; without an endpoint its orders would be real"
            problems.at(("venues", name), message, allowed="mode sim, or an endpoint in testnet", of_key=True)
        if real and "candles" in venue:
            message = f"candles from a file are for mode sim, and the mode is {mode}"
            problems.at(("venues", name, "candles"), message, allowed="leave it out", of_key=True)
        if "faults" in venue and (real or "endpoint" in venue):
            why = f"the mode is {mode}" if real else "an endpoint is set"
            message = f"faults are for the built-in venue that mode sim starts, and {why}"
            problems.at(("venues", name, "faults"), message, allowed="leave it out", of_key=True)


def _venues(raw: Raw, problems: Problems) -> None:
    if not any(venue.get("enabled", True) is not False for _, venue in _tables(raw, "venues")):
        problems.at(
            ("venues",), "no venue is enabled", allowed="at least one [venues.<id>] with enabled = true", of_key=True
        )
    limit = _integer(_table(raw, "risk").get("max_leverage"), RiskSettings().max_leverage)
    for name, venue in _tables(raw, "venues"):
        enabled = venue.get("enabled", True) is not False
        if name not in VENUES:
            problems.unknown(("venues", name), "venue", VENUES_BUILT)
        elif enabled and name not in VENUES_BUILT:
            message = f"venue {name} is not built yet"
            problems.at(("venues", name), message, allowed=", ".join(VENUES_BUILT), of_key=True)
        leverage = _integer(venue.get("leverage"), VenueSettings().leverage)
        if enabled and leverage > limit and not problems.knows(("venues", name, "leverage")):
            message = f"leverage {leverage} is more than risk.max_leverage, which is {limit}"
            problems.at(("venues", name, "leverage"), message, allowed=f"1 to {limit}")


def _execution(raw: Raw, problems: Problems) -> None:
    table = _table(raw, "execution")
    policy = table.get("foreign_position")
    if policy in FOREIGN_POSITION_NOT_BUILT:
        problems.at(("execution", "foreign_position"), f"the policy {policy} is not built yet", allowed="deny")
    default = ExecutionSettings()
    soft = _integer(table.get("handler_budget_ms"), default.handler_budget_ms)
    hard = _integer(table.get("handler_limit_ms"), default.handler_limit_ms)
    if soft > hard:
        key = "handler_budget_ms" if "handler_budget_ms" in table else "handler_limit_ms"
        problems.at(
            ("execution", key),
            f"handler_budget_ms ({soft}) is more than handler_limit_ms ({hard})",
            allowed="a budget that is not above the limit",
        )


def _instruments(raw: Raw, problems: Problems) -> None:
    """Each instrument's venue is enabled, and one (venue, instrument) belongs to one strategy.

    A strategy whose venues are all switched off rests with them (`Settings.resting`); one that lost some is a mistake.
    """
    off = {name for name, venue in _tables(raw, "venues") if venue.get("enabled", True) is False}
    needs: dict[str, set[str]] = {}
    for strategy, _, instrument in _named_instruments(raw):
        needs.setdefault(strategy, set()).add(instrument.venue)
    on = (name for name, venue in _tables(raw, "venues") if venue.get("enabled", True) is not False)
    enabled = [name for name in on if name in VENUES_BUILT]
    owner: dict[InstrumentId, str] = {}
    for strategy, path, instrument in _named_instruments(raw):
        if instrument.venue not in enabled and not needs[strategy] <= off:
            message = f"{instrument} needs the venue {instrument.venue}, which is not enabled in [venues]"
            problems.at(
                path,
                message,
                allowed=", ".join(sorted(enabled)) or "enable a venue first",
                nearest=nearest(instrument.venue, enabled),
            )
        if instrument in owner:
            whose = "twice" if owner[instrument] == strategy else f"by strategy {owner[instrument]} already"
            problems.at(path, f"{instrument} is named {whose}", allowed="one strategy for each instrument of a venue")
        owner.setdefault(instrument, strategy)


def _named_instruments(raw: Raw) -> Iterator[tuple[str, Path, InstrumentId]]:
    for strategy, table in _tables(raw, "strategies"):
        texts = table.get("instruments")
        for index, text in enumerate(texts if isinstance(texts, list) else ()):
            try:
                instrument = InstrumentId.parse(text)
            except (ValueError, TypeError):  # reported where the value itself is checked
                continue
            yield strategy, ("strategies", strategy, "instruments", index), instrument


def _mqtt(raw: Raw, problems: Problems) -> None:
    mqtt = _table(raw, "mqtt")
    if mqtt.get("ca_file") and mqtt.get("tls") is not True:
        message = "mqtt.ca_file says whom to trust, and without tls nobody is asked"
        problems.at(("mqtt", "ca_file"), message, allowed="tls = true, or no ca_file", of_key=True)
    if mqtt.get("password_file") and not mqtt.get("username"):
        message = "mqtt.password_file is a password without a name"
        problems.at(("mqtt", "password_file"), message, allowed="a username beside it", of_key=True)
