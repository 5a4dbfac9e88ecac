"""ccxt without the exchanges that nobody asked for: in a process of its own, since here ccxt is there already."""

import json
import subprocess
import sys
from typing import Any

CLASSES = """
import json, sys
from tradingd.venues.lean_ccxt import import_lean
if sys.argv[1] == "lean":
    import_lean()
import ccxt, ccxt.async_support, ccxt.pro
from ccxt import kraken
if sys.argv[1] == "lean":
    import_lean()
loaded = [name for name in sys.modules if name.startswith(("ccxt.pro.", "ccxt.async_support.")) and "base" not in name]
client = ccxt.pro.binanceusdm
names = {package.__name__: sorted(name for name in dir(package) if not name.startswith("_") and name.isidentifier()
         and name not in package.exchanges) for package in (ccxt, ccxt.async_support, ccxt.pro)}
print(json.dumps({
    "mro": [f"{each.__module__}.{each.__qualname__}" for each in client.__mro__],
    "exchanges": [ccxt.exchanges, ccxt.async_support.exchanges, ccxt.pro.exchanges],
    "error": str(ccxt.NetworkError is ccxt.pro.NetworkError), "version": ccxt.__version__,
    "kraken": [kraken.__module__, ccxt.async_support.kraken.__module__, ccxt.pro.kraken.__module__],
    "module": hasattr(ccxt, "no_such_exchange"), "names": names, "loaded": len(loaded),
}))
"""


def look(how: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", CLASSES, how], capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_asked_for_is_the_same_and_nothing_else_is_imported() -> None:
    lean, whole = look("lean"), look("whole")
    lean_loaded, whole_loaded = lean.pop("loaded"), whole.pop("loaded")
    lean_names, whole_names = lean.pop("names"), whole.pop("names")
    assert lean == whole
    assert lean_loaded < 20 < 150 < whole_loaded
    for package, names in whole_names.items():
        modules = {"abstract", "exchanges_left_out", "static_dependencies", "async_support", "pro", "base"}
        assert set(names) - set(lean_names[package]) <= modules
