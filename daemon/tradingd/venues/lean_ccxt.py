"""ccxt without the hundred exchanges that are not used: its packages import each of them, a second and 55 MB in all.

Nothing of ccxt is replaced or left behind: each package's own text runs, only without the lines that import an
exchange, and an exchange is imported when it is first asked for by its name.
"""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

PACKAGES = ("ccxt", "ccxt.async_support", "ccxt.pro")


class _Package(ModuleType):
    """One of ccxt's packages; the name of an exchange is its class there, not the module that holds it."""

    exchanges_left_out: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: object) -> None:
        held = vars(value).get(name) if isinstance(value, ModuleType) else None
        super().__setattr__(name, held if isinstance(held, type) else value)

    def __getattr__(self, name: str) -> object:
        if name not in self.exchanges_left_out:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        importlib.import_module(f"{self.__name__}.{name}")
        return vars(self)[name]


def import_lean() -> None:
    """Make ccxt's packages known, for `import ccxt.pro` to find; does nothing where ccxt was imported before."""
    if any(name in sys.modules for name in PACKAGES):
        return
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ImportError(f"{name} is not installed")
        package = _Package(name)
        package.__spec__, package.__file__, package.__package__ = spec, spec.origin, name
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, package)
        _run(package, Path(spec.origin))


def _run(package: _Package, path: Path) -> None:
    """Run a package's text without the imports of exchanges."""
    tree = ast.parse(path.read_text("utf-8"))
    exchanges = {node: name for node in tree.body if (name := _exchange(node, package.__name__))}
    package.exchanges_left_out = frozenset(exchanges.values())
    tree.body = [node for node in tree.body if node not in exchanges]
    exec(compile(tree, str(path), "exec"), vars(package))


def _exchange(node: ast.stmt, package: str) -> str:
    """The exchange that a line imports ("from ccxt.pro.binance import binance"); empty for any other line."""
    if not isinstance(node, ast.ImportFrom) or len(node.names) != 1:
        return ""
    name = node.names[0].name
    return name if node.module == f"{package}.{name}" else ""
