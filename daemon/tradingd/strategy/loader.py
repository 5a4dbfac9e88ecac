"""Loads the plugins that the config names, and only those; every fault of every plugin is told at once."""

import ast
import difflib
import hashlib
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from tradingd.config import EXIT_STATUS, ConfigError, Problem, Problems, Settings
from tradingd.config.problems import nearest
from tradingd.domain.errors import PluginError
from tradingd.domain.ids import StrategyId
from tradingd.domain.instruments import InstrumentId
from tradingd.domain.text import storable
from tradingd.strategy.base import HANDLERS, Strategy
from tradingd.strategy.parameters import Parameter, ParameterError, bind, parameters_of
from tradingd.strategy.source import check_permissions, check_source
from tradingd.strategy.timer import HandlerOverran, HandlerTimer, NoTimer

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
IMPORT_BUDGET_MS = 30_000
"""Running a plugin's file may take this long: a first import of pandas takes seconds."""


class PluginsRefused(PluginError):
    """Plugins that cannot be used; `problems` are all that was found, each with its place and what is allowed."""

    exit_status = EXIT_STATUS

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PluginMissing(PluginsRefused):
    """The strategies directory holds no plugin of that name."""


class Plugin(msgspec.Struct, frozen=True):
    """One plugin file that was read and run. `code_sha256` is of exactly the text that was run."""

    name: str
    path: Path
    strategy_class: type[Strategy]
    parameters: dict[str, Parameter]
    code_sha256: str

    @property
    def summary(self) -> str:
        """The first line of the class's or the file's docstring."""
        module = sys.modules.get(self.strategy_class.__module__)
        text = (self.strategy_class.__dict__.get("__doc__") or getattr(module, "__doc__", None) or "").strip()
        return text.splitlines()[0] if text else ""


class LoadedStrategy(msgspec.Struct, frozen=True):
    """A strategy that can run: its plugin, bound to the section's parameters."""

    id: StrategyId
    plugin: Plugin
    instruments: tuple[InstrumentId, ...]
    timeframe: str
    warmup: int
    parameters: dict[str, Any]

    @property
    def code_sha256(self) -> str:
        """The hash that each decision carries."""
        return self.plugin.code_sha256

    def create(self) -> Strategy:
        """A new object of the strategy."""
        return self.plugin.strategy_class(**self.parameters)

    def describe(self, error: BaseException) -> str:
        """What was raised, and the plugin's line that it came from."""
        return describe_error(error, self.plugin.path)


def describe_error(error: BaseException, path: Path) -> str:
    """`Type: text (file:line)`, the line being the last one of the plugin; never raises."""
    try:
        text = storable(f"{type(error).__name__}: {error}")  # cut here, so that the line that follows is not
    except Exception as second:
        text = storable(f"{type(error).__name__} (its text cannot be read: {type(second).__name__})")
    line = _last_line(error, path)
    return f"{text} ({path.name}:{line})" if line else text


def _last_line(error: BaseException, path: Path) -> int | None:
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else None


def load_strategies(settings: Settings, timer: HandlerTimer | None = None) -> list[LoadedStrategy]:
    """Load what the config names; raises PluginsRefused with everything that is wrong, with its place."""
    problems = settings.problems()
    loaded: list[LoadedStrategy] = []
    for name, section in settings.strategies.items():
        where = ("strategies", name)
        try:
            # a module of its own per section: two strategies of one file share no globals
            plugin = load_plugin(section.plugin, settings.daemon.strategies_dir, timer, module_suffix=name)
        except PluginMissing as missing:
            (problem,) = missing.problems
            problems.at((*where, "plugin"), problem.message, allowed=problem.allowed, nearest=problem.nearest)
            continue
        except PluginsRefused as refused:
            for problem in refused.problems:
                problems.add(problem)
            continue
        parameters = _bound(plugin, section.parameters, where, problems, timer)
        loaded.append(
            LoadedStrategy(StrategyId(name), plugin, section.instruments, section.timeframe, section.warmup, parameters)
        )
    try:
        problems.raise_if_any()
    except ConfigError as error:
        raise PluginsRefused(error.problems) from None
    return loaded


def _bound(
    plugin: Plugin,
    given: Mapping[str, object],
    where: tuple[str, str],
    problems: Problems,
    timer: HandlerTimer | None,
) -> dict[str, Any]:
    try:
        return check_parameters(plugin, given, timer)
    except ParameterError as error:
        for fault in error.problems:
            of_key = fault.unknown and fault.name in given
            path = where if fault.unknown and not of_key else (*where, fault.name)
            problems.at(path, fault.message, allowed=fault.allowed, nearest=fault.nearest, of_key=of_key)
    except PluginsRefused as refused:
        for problem in refused.problems:
            problems.at(where, problem.message, allowed=problem.allowed, of_key=True)
    return {}


def available_plugins(strategies_dir: Path) -> list[str]:
    """The names of the plugin files in the directory."""
    return sorted(path.stem for path in strategies_dir.glob("*.py") if _NAME.fullmatch(path.stem))


def load_plugin(
    name: str, strategies_dir: Path, timer: HandlerTimer | None = None, *, module_suffix: str = ""
) -> Plugin:
    """Read, check and run one plugin file; raises PluginsRefused, or PluginMissing."""
    path = _find(name, strategies_dir)
    _raise_if(check_permissions(path))
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginsRefused([Problem(f"cannot be read: {error.strerror}", str(path), "a readable file")]) from error
    tree = _parse(source, path)
    _raise_if(check_source(tree, path))
    module_name = f"tradingd_plugin_{name}" + (f"__{module_suffix}" if module_suffix else "")
    module = _run(tree, path, module_name, timer or NoTimer())
    strategy_class = _strategy_class(module, path)
    try:
        parameters = parameters_of(strategy_class)
    except ParameterError as error:
        found = error.problems
        raise PluginsRefused([Problem(one.message, str(path), one.allowed, one.nearest) for one in found]) from error
    return Plugin(name, path, strategy_class, parameters, hashlib.sha256(source).hexdigest())


def _raise_if(problems: list[Problem]) -> None:
    if problems:
        raise PluginsRefused(problems)


def check_parameters(plugin: Plugin, given: Mapping[str, object], timer: HandlerTimer | None = None) -> dict[str, Any]:
    """All parameters with the given values; raises ParameterError, or PluginsRefused when they do not fit together."""
    values = bind(plugin.strategy_class, given)
    try:
        guard = timer or NoTimer()
        guard.run(lambda: plugin.strategy_class(**values).check_parameters(), IMPORT_BUDGET_MS, plugin.name)
    except (Exception, HandlerOverran) as error:
        told = type(error) is ValueError  # what check_parameters is meant to raise; its text is for the user
        message = f"the parameters do not fit {plugin.name}: {error}" if told else describe_error(error, plugin.path)
        raise PluginsRefused([Problem(message, str(plugin.path))]) from error
    return values


def _find(name: str, strategies_dir: Path) -> Path:
    if not strategies_dir.is_dir():
        message = "the directory of the plugins does not exist"
        raise PluginsRefused([Problem(message, str(strategies_dir), "correct strategies_dir in [daemon]")])
    path = strategies_dir.resolve() / f"{name}.py"
    if _NAME.fullmatch(name) and path.is_file():
        return path.resolve()
    there = available_plugins(strategies_dir)
    allowed = f"{', '.join(there) or 'nothing is there yet'} (`tradingd strategies new {name}` writes a new one)"
    raise PluginMissing([Problem(f"there is no plugin file {path}", str(path), allowed, nearest(name, there))])


def _parse(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source, filename=str(path))
    except SyntaxError as error:
        shown = f": {error.text.strip()}" if error.text else ""
        place = f"{path}:{error.lineno}"
        raise PluginsRefused([Problem(f"syntax error, {error.msg}{shown}", place, "correct the line")]) from error
    except (ValueError, RecursionError) as error:
        raise PluginsRefused([Problem(f"not Python source: {error}", str(path), "write it as UTF-8 text")]) from error


def _run(tree: ast.Module, path: Path, module_name: str, timer: HandlerTimer) -> ModuleType:
    module = ModuleType(module_name)
    module.__file__ = str(path)
    sys.modules[module_name] = module
    try:
        # the parsed text itself is run, never a .pyc: the hash in the journal is of the code that decided
        code = compile(tree, str(path), "exec", dont_inherit=True)
        timer.run(lambda: exec(code, module.__dict__), IMPORT_BUDGET_MS, str(path))
    except BaseException as error:  # SystemExit at module level is a fault of the plugin, too
        del sys.modules[module_name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginsRefused([_import_problem(error, path)]) from error
    return module


def _import_problem(error: BaseException, path: Path) -> Problem:
    line = _last_line(error, path)
    place = f"{path}:{line}" if line else str(path)
    if isinstance(error, HandlerOverran):
        return Problem(
            f"running the file took more than {IMPORT_BUDGET_MS // 1000} s", place, "no work at module level"
        )
    if isinstance(error, ImportError):
        return Problem(f"{type(error).__name__}: {error}", place, "install the module, or drop the import")
    return Problem(describe_error(error, path), place, "correct the plugin")


def _strategy_class(module: ModuleType, path: Path) -> type[Strategy]:
    own = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, Strategy))
    found = list(dict.fromkeys(cls for cls in own if cls.__module__ == module.__name__))
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        allowed = "exactly one class derived from Strategy per file"
        raise PluginsRefused([Problem(f"classes derived from Strategy: {names}", str(path), allowed)])
    (cls,) = found
    problems = []
    for name in HANDLERS:
        if not callable(getattr(cls, name)):
            problems.append(Problem(f"{cls.__name__}.{name} is not a function", str(path), "handlers are functions"))
    if cls.__init__ is not Strategy.__init__:
        problems.append(Problem(f"{cls.__name__} has an __init__", str(path), "set up in on_start instead"))
    for name in vars(cls):
        if name.startswith("on_") and name not in HANDLERS:
            near = difflib.get_close_matches(name, HANDLERS, n=1)
            message = f"{cls.__name__}.{name} is not a handler"
            problems.append(Problem(message, str(path), ", ".join(HANDLERS), near[0] if near else None))
    _raise_if(problems)
    return cls
