"""The error texts of the packages, read from their source: what a user may see, ``…`` for what differs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROOTS = {"FallbackError", "SettingProblem", "EnvFileError"}
_FOUND_ONE_BY_ONE = "… was not downloaded: "
"""The beginning of all that a function of meanings returns."""
_ONLY_TEST = {"CheckFailed", "CannotCheck"}
"""Lines of ``zwaif-fallback test``, which are their own remedy."""


@cache
def _modules() -> dict[Path, ast.Module]:
    files = [file for folder in ("zwaif_fallback", "hooks") for file in (ROOT / folder).rglob("*.py")]
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in files if "standin" not in file.parts}


def _nodes() -> Iterator[ast.AST]:
    for module in _modules().values():
        yield from ast.walk(module)


@cache
def _constants() -> dict[str, str]:
    """Module-level texts by name; a name in an f-string is most often one of them."""
    found = {}
    for module in _modules().values():
        for node in module.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                text = _text(node.value, known={})
                if text:
                    found[node.targets[0].id] = text
    return found


def _text(node: ast.expr, known: dict[str, str]) -> str:
    """A text expression with ``…`` for every part that is only known at run time; empty where it is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, known) or "…" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, known)
    if isinstance(node, ast.Name):
        return known.get(node.id, "")
    if isinstance(node, ast.BinOp):
        left, right = _text(node.left, known), _text(node.right, known)
        return (left or "…") + (right or "…") if left or right else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return re.sub(r"\{\w+\}", "…", _text(node.func.value, known))
    return ""


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@cache
def _error_classes() -> frozenset[str]:
    found, before = set(_ROOTS), 0
    while len(found) > before:
        before = len(found)
        for node in _nodes():
            if isinstance(node, ast.ClassDef) and any(_name(base) in found for base in node.bases):
                found.add(node.name)
    return frozenset(found - _ONLY_TEST)


def error_texts() -> set[str]:
    """Every text that one of our errors is made with, those of the tables of meanings included."""
    known, found = _constants(), set()
    for node in _nodes():
        if isinstance(node, ast.Call) and node.args and _name(node.func) in _error_classes():
            found.add(_text(node.args[0], known).removeprefix(_FOUND_ONE_BY_ONE))
        elif isinstance(node, ast.Call) and _name(node.func) == "_Meaning":
            found.add(re.sub(r"\{\w+\}", "…", _text(node.args[2], known)))
        elif isinstance(node, ast.FunctionDef) and re.match(r"_meaning|_log_in", node.name):
            texts = [_text(one.value, known) for one in ast.walk(node) if isinstance(one, ast.Return) and one.value]
            found |= {_FOUND_ONE_BY_ONE + text for text in texts if text}
    return {text for text in found if text.strip("… .:")}


def fits(pattern: str, text: str) -> bool:
    """Whether ``text`` holds the fixed parts of ``pattern`` in their order."""
    return re.search(".*".join(re.escape(part) for part in pattern.split("…")), text, re.DOTALL) is not None


def manual_texts(page: str) -> list[str]:
    """The texts a page of the manual explains: its headings in code style, and the list of others below them."""
    own = page.partition("\n## Errors from other programs\n")[0]
    return re.findall(r"^(?:###|- also) `(.+)`$", own, re.MULTILINE)
