"""Loads the plugins that the config names, and only those; every fault of every plugin is told at once."""

import ast
import difflib
import hashlib
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from tradingd.domain.errors import PluginError
from tradingd.domain.ids import StrategyId
from tradingd.domain.instruments import InstrumentId
from tradingd.strategy.base import HANDLERS, Strategy
from tradingd.strategy.parameters import Parameter, ParameterError, bind, parameters_of
from tradingd.strategy.source import check_permissions, check_source
from tradingd.strategy.timer import HandlerOverran, HandlerTimer, NoTimer

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
IMPORT_BUDGET_MS = 30_000
"""Running a plugin's file may take this long: a first import of pandas takes seconds."""


class StrategySpec(msgspec.Struct, frozen=True):
    """One `[strategies.<id>]` section as the loader needs it."""

    id: StrategyId
    plugin: str
    instruments: tuple[InstrumentId, ...]
    timeframe: str
    warmup: int
    parameters: Mapping[str, object] = {}


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
        own = self.strategy_class.__dict__.get("__doc__")
        text = (own or getattr(module, "__doc__", None) or "").strip()
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


class PluginsRefused(PluginError):
    """Plugins that cannot be used; `problems` are all that was found, each with file, line where known, and remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


def describe_error(error: BaseException, path: Path) -> str:
    """`Type: text (file:line)`, the line being the last one of the plugin; never raises."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception as second:
        text = f"{type(error).__name__} (its text cannot be read: {type(second).__name__})"
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return f"{text} ({path.name}:{lines[-1]})" if lines else text


def load_strategies(
    specs: Sequence[StrategySpec], strategies_dir: Path, timer: HandlerTimer | None = None
) -> list[LoadedStrategy]:
    """Load what the config names; raises PluginsRefused with everything that is wrong."""
    problems: list[str] = []
    loaded: list[LoadedStrategy] = []
    for spec in specs:
        try:
            # a module of its own per section: two strategies of one file share no globals
            plugin = load_plugin(spec.plugin, strategies_dir, timer, module_suffix=spec.id)
            parameters = check_parameters(plugin, spec.parameters, f"[strategies.{spec.id}]", timer)
        except PluginsRefused as refused:
            problems.extend(refused.problems)
            continue
        loaded.append(LoadedStrategy(spec.id, plugin, spec.instruments, spec.timeframe, spec.warmup, parameters))
    if problems:
        raise PluginsRefused(problems)
    return loaded


def available_plugins(strategies_dir: Path) -> list[str]:
    """The names of the plugin files in the directory."""
    return sorted(path.stem for path in strategies_dir.glob("*.py") if _NAME.fullmatch(path.stem))


def load_plugin(
    name: str, strategies_dir: Path, timer: HandlerTimer | None = None, *, module_suffix: str = ""
) -> Plugin:
    """Read, check and run one plugin file; raises PluginsRefused."""
    path = _find(name, strategies_dir)
    problems = check_permissions(path)
    if problems:
        raise PluginsRefused(problems)
    source = path.read_bytes()
    tree = _parse(source, path)
    problems = check_source(tree, path)
    if problems:
        raise PluginsRefused(problems)
    module_name = f"tradingd_plugin_{name}" + (f"__{module_suffix}" if module_suffix else "")
    module = _run(tree, path, module_name, timer or NoTimer())
    strategy_class = _strategy_class(module, path)
    try:
        parameters = parameters_of(strategy_class)
    except ParameterError as error:
        raise PluginsRefused([f"{path}: {problem}" for problem in error.problems]) from error
    return Plugin(name, path, strategy_class, parameters, hashlib.sha256(source).hexdigest())


def check_parameters(
    plugin: Plugin, given: Mapping[str, object], where: str, timer: HandlerTimer | None = None
) -> dict[str, Any]:
    """The plugin's parameters with the given values; raises PluginsRefused naming `where` they were given."""
    try:
        values = bind(plugin.strategy_class, given)
    except ParameterError as error:
        raise PluginsRefused([f"{where}: {problem} (plugin {plugin.path})" for problem in error.problems]) from error
    try:
        (timer or NoTimer()).run(lambda: plugin.strategy_class(**values).check_parameters(), IMPORT_BUDGET_MS)
    except (Exception, HandlerOverran) as error:
        text = str(error) if type(error) is ValueError else describe_error(error, plugin.path)
        raise PluginsRefused([f"{where}: {text} (plugin {plugin.path})"]) from error
    return values


def _find(name: str, strategies_dir: Path) -> Path:
    if not _NAME.fullmatch(name):
        raise PluginsRefused([f"plugin {name!r} is not a file name; allowed: letters, digits and _ (without .py)"])
    if not strategies_dir.is_dir():
        raise PluginsRefused([f"{strategies_dir}: strategies_dir is not a directory; correct it in [daemon]"])
    path = strategies_dir.resolve() / f"{name}.py"
    if path.is_file():
        return path.resolve()
    there = available_plugins(strategies_dir)
    near = difflib.get_close_matches(name, there, n=1)
    meant = f"; nearest: {near[0]}" if near else ""
    raise PluginsRefused(
        [
            f"{path}: no such plugin{meant}; there are: {', '.join(there) or 'none'} "
            f"(`tradingd strategies new {name}` writes one)"
        ]
    )


def _parse(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source, filename=str(path))
    except SyntaxError as error:
        shown = f"\n    {error.text.strip()}" if error.text else ""
        raise PluginsRefused([f"{path}:{error.lineno}: syntax error: {error.msg}; correct the line{shown}"]) from error
    except ValueError as error:
        raise PluginsRefused([f"{path}: not Python source: {error}; write it anew as UTF-8 text"]) from error


def _run(tree: ast.Module, path: Path, module_name: str, timer: HandlerTimer) -> ModuleType:
    module = ModuleType(module_name)
    module.__file__ = str(path)
    # the parsed text itself is run, never a .pyc: the hash in the journal is of the code that decided
    code = compile(tree, str(path), "exec", dont_inherit=True)
    sys.modules[module_name] = module
    try:
        timer.run(lambda: exec(code, module.__dict__), IMPORT_BUDGET_MS)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, KeyboardInterrupt):
            raise
        if isinstance(error, HandlerOverran):
            raise PluginsRefused([f"{path}: running the file took more than {IMPORT_BUDGET_MS // 1000} s"]) from None
        remedy = "install the module or drop the import" if isinstance(error, ImportError) else "correct the plugin"
        raise PluginsRefused([f"{path}: {describe_error(error, path)}; {remedy}"]) from error
    return module


def _strategy_class(module: ModuleType, path: Path) -> type[Strategy]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]
    found = list(dict.fromkeys(found))
    if len(found) != 1:
        names = ", ".join(cls.__name__ for cls in found) or "none"
        raise PluginsRefused([f"{path}: exactly one class derived from Strategy is allowed per file; found: {names}"])
    (cls,) = found
    problems = [
        f"{path}: {cls.__name__}.{name} is not callable" for name in HANDLERS if not callable(getattr(cls, name))
    ]
    if cls.__init__ is not Strategy.__init__:
        problems.append(f"{path}: {cls.__name__} has an __init__; set up in on_start instead")
    unknown = [name for name in vars(cls) if name.startswith("on_") and name not in HANDLERS]
    for name in unknown:
        near = difflib.get_close_matches(name, HANDLERS, n=1)
        meant = f"; nearest: {near[0]}" if near else ""
        problems.append(f"{path}: {cls.__name__}.{name} is not a handler{meant}; allowed: {', '.join(HANDLERS)}")
    if problems:
        raise PluginsRefused(problems)
    return cls
