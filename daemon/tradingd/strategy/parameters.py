"""A strategy's parameters: read from the class's annotations, checked against what the config gives."""

import difflib
import typing
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from tradingd.domain.errors import BadNumber, TradingdError
from tradingd.domain.numbers import exact

_SCALARS: tuple[type, ...] = (int, float, str, bool, Decimal)
RESERVED = frozenset({"plugin", "instruments", "timeframe", "warmup", "hold_candles", "enabled"})
"""Keys of a `[strategies.<id>]` section that are the daemon's own."""


class Range(msgspec.Struct, frozen=True):
    """The allowed range of a number, both ends included: `fast: Annotated[int, Range(2, 500)] = 10`."""

    low: int | float | Decimal | str | None = None
    high: int | float | Decimal | str | None = None

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"from {self.low} to {self.high}"
        return f"at least {self.low}" if self.high is None else f"at most {self.high}"

    def holds(self, number: Decimal) -> bool:
        """Whether `number` lies inside."""
        if self.low is not None and number < exact(self.low, "Range.low"):
            return False
        return self.high is None or number <= exact(self.high, "Range.high")


class ParameterError(TradingdError, ValueError):
    """Parameters that a strategy cannot take; `problems` are all that was found, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a strategy class. `choices` are the values of a Literal; `required` means without default."""

    name: str
    kind: type
    required: bool
    default: Any
    range: Range | None = None
    choices: tuple[str | int, ...] = ()

    @property
    def allowed(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        words = {int: "a whole number", float: "a number", Decimal: "a number", str: "a text", bool: "true or false"}
        text = words[self.kind]
        return f"{text} {self.range}" if self.range is not None else text

    def convert(self, value: object) -> object:
        """`value` in the parameter's type; raises BadNumber or ValueError when it is not allowed."""
        if self.choices:
            if value not in self.choices or isinstance(value, bool):
                raise ValueError(self.name)
            return value
        if self.kind in (str, bool):
            if type(value) is not self.kind:
                raise ValueError(self.name)
            return value
        if isinstance(value, str) or (self.kind is int and not _is_whole(value)):
            raise ValueError(self.name)
        number = exact(value, self.name)
        if self.range is not None and not self.range.holds(number):
            raise ValueError(self.name)
        return number if self.kind is Decimal else self.kind(number)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def parameters_of(cls: type) -> dict[str, Parameter]:
    """The parameters of a strategy class, base classes first; raises ParameterError when an annotation is unusable."""
    found: dict[str, Parameter] = {}
    problems: list[str] = []
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:  # annotations are code of the plugin: whatever they raise is its author's to read
        raise ParameterError([f"the annotations of {cls.__name__} cannot be read: {error}"]) from error
    for name, hint in hints.items():
        if name.startswith("_") or get_origin(hint) is typing.ClassVar:
            continue
        try:
            parameter = _parameter(cls, name, hint)
        except ValueError as error:
            problems.append(str(error))
            continue
        if parameter is not None:
            found[name] = parameter
    if problems:
        raise ParameterError(problems)
    return found


def _parameter(cls: type, name: str, hint: object) -> Parameter | None:
    limits: Range | None = None
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        limits = next((extra for extra in extras if isinstance(extra, Range)), None)
        hint = inner
    given = hasattr(cls, name)
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    if not choices and hint not in _SCALARS:
        if not given:
            return None  # the declaration of an attribute that on_start sets
        raise ValueError(
            f"parameter {name} has a type that config cannot give; allowed: int, float, str, bool, Decimal, Literal "
            "(a name with a leading underscore is not a parameter)"
        )
    if name in RESERVED:
        raise ValueError(f"parameter {name} has the name of a key of the daemon itself; choose another name")
    kind: type = type(choices[0]) if choices else typing.cast("type", hint)
    default = getattr(cls, name, None)
    parameter = Parameter(name, kind, not given, default, limits, choices)
    if given:
        try:
            converted = parameter.convert(default)
        except ValueError:
            raise ValueError(f"default of {name} is {default!r}; allowed: {parameter.allowed}") from None
        parameter = msgspec.structs.replace(parameter, default=converted)
    return parameter


def bind(cls: type, given: Mapping[str, object]) -> dict[str, object]:
    """All parameters of `cls` with the given values and the defaults; raises ParameterError naming every fault."""
    known = parameters_of(cls)
    problems: list[str] = []
    values: dict[str, object] = {}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"; nearest: {near[0]}" if near else ""
            allowed = ", ".join(known) or "none, this strategy has no parameters"
            problems.append(f"{name} is not a parameter of {cls.__name__}{meant}; allowed: {allowed}")
    for name, parameter in known.items():
        if name not in given:
            if parameter.required:
                problems.append(f"{name} is missing; allowed: {parameter.allowed}")
            values[name] = parameter.default
            continue
        try:
            values[name] = parameter.convert(given[name])
        except (BadNumber, ValueError):
            problems.append(f"{name} is {given[name]!r}; allowed: {parameter.allowed}")
    if problems:
        raise ParameterError(problems)
    return values
