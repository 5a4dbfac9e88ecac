"""A strategy's parameters: read from the class's annotations, checked against what the config gives."""

import difflib
import typing
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from tradingd.domain.errors import TradingdError
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


class ParameterProblem(msgspec.Struct, frozen=True):
    """One fault of one parameter; `unknown` means that the name itself is wrong."""

    name: str
    message: str
    allowed: str
    nearest: str | None = None
    unknown: bool = False

    def __str__(self) -> str:
        near = f"; nearest: {self.nearest}" if self.nearest else ""
        return f"{self.message}{near}; allowed: {self.allowed}"


class ParameterError(TradingdError, ValueError):
    """Parameters that a strategy cannot take; `problems` are all that was found."""

    def __init__(self, problems: list[ParameterProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in problems))


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
        """`value` in the parameter's type; raises ValueError when it is not allowed."""
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
    problems: list[ParameterProblem] = []
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:  # annotations are code of the plugin: whatever they raise is its author's to read
        message = f"the annotations of {cls.__name__} cannot be read: {type(error).__name__}: {error}"
        raise ParameterError([ParameterProblem(cls.__name__, message, "names that the file defines")]) from error
    for name, hint in hints.items():
        if name.startswith("_") or get_origin(hint) is typing.ClassVar:
            continue
        answer = _parameter(cls, name, hint)
        if isinstance(answer, ParameterProblem):
            problems.append(answer)
        elif answer is not None:
            found[name] = answer
    if problems:
        raise ParameterError(problems)
    return found


def _parameter(cls: type, name: str, hint: object) -> Parameter | ParameterProblem | None:
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
        allowed = "int, float, str, bool, Decimal, Literal (a name with a leading underscore is not a parameter)"
        return ParameterProblem(name, f"parameter {name} has a type that config cannot give", allowed)
    if name in RESERVED:
        return ParameterProblem(name, f"{name} is a key of the daemon itself", "another name for the parameter")
    kind: type = type(choices[0]) if choices else typing.cast("type", hint)
    parameter = Parameter(name, kind, not given, getattr(cls, name, None), limits, choices)
    if not given:
        return parameter
    try:
        return msgspec.structs.replace(parameter, default=parameter.convert(parameter.default))
    except ValueError:
        return ParameterProblem(name, f"the default of {name} is {parameter.default!r}", parameter.allowed)


def bind(cls: type, given: Mapping[str, object]) -> dict[str, object]:
    """All parameters of `cls` with the given values and the defaults; raises ParameterError naming every fault."""
    known = parameters_of(cls)
    problems: list[ParameterProblem] = []
    values: dict[str, object] = {}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            allowed = ", ".join(known) or "none, this strategy has no parameters"
            message = f"{name} is not a parameter of {cls.__name__}"
            problems.append(ParameterProblem(name, message, allowed, near[0] if near else None, unknown=True))
    for name, parameter in known.items():
        if name not in given:
            if parameter.required:
                problems.append(ParameterProblem(name, f"{name} is missing", parameter.allowed, unknown=True))
            values[name] = parameter.default
            continue
        try:
            values[name] = parameter.convert(given[name])
        except ValueError:
            problems.append(ParameterProblem(name, f"{name} is {given[name]!s}", parameter.allowed))
    if problems:
        raise ParameterError(problems)
    return values
