"""What is checked of a plugin before any of it runs: who may write to it, and what it imports and catches."""

import ast
import grp
import os
import pwd
import stat
from pathlib import Path

from tradingd.config.problems import Problem


def check_permissions(path: Path) -> list[Problem]:
    """Problems with who may change the plugin: only its owner may, since it runs with the daemon's rights."""
    problems: list[Problem] = []
    for place in (path.parent, path):
        status = place.stat()
        if status.st_mode & stat.S_IWOTH:
            problems.append(Problem("writable by everyone, and plugins can trade", str(place), f"chmod o-w {place}"))
        if status.st_mode & stat.S_IWGRP and not _group_is_the_owner(status):
            problems.append(Problem("writable by its group, and plugins can trade", str(place), f"chmod g-w {place}"))
    return problems


def _group_is_the_owner(status: os.stat_result) -> bool:
    """Whether the group is the owner's private one: a umask of 002 then makes nothing writable by anybody else."""
    try:
        owner = pwd.getpwuid(status.st_uid)
        group = grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return group.gr_gid == owner.pw_gid and group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def check_source(tree: ast.Module, path: Path) -> list[Problem]:
    """Problems with what the source imports and catches."""
    problems: list[Problem] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                problems += _check_import(name.name, node, path)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                problems.append(Problem("a relative import", f"{path}:{node.lineno}", "a plugin is one file"))
            elif node.module == "tradingd":
                for name in node.names:
                    problems += _check_import(f"tradingd.{name.name}", node, path)
            else:
                problems += _check_import(node.module or "", node, path)
        elif isinstance(node, ast.ExceptHandler) and _catches_everything(node):
            message = "this except also catches the end of the handler's time budget"
            problems.append(Problem(message, f"{path}:{node.lineno}", "except Exception, or narrower"))
        elif isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("on_"):
            problems.append(Problem(f"{node.name} is async", f"{path}:{node.lineno}", "a plain function"))
    return problems


def _check_import(module: str, node: ast.stmt, path: Path) -> list[Problem]:
    if module == "tradingd.strategy" or module.partition(".")[0] != "tradingd":
        return []
    return [Problem(f"imports {module}", f"{path}:{node.lineno}", "of the daemon: tradingd.strategy")]


def _catches_everything(node: ast.ExceptHandler) -> bool:
    if node.type is None:
        return True
    caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(isinstance(one, ast.Name) and one.id == "BaseException" for one in caught)
