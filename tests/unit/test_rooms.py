"""The rooms of the two packages, and which room may import which.

A room is a folder, or a file beside the folders. The tables below are the picture in ``docs/architecture.md``: a room
imports only rooms that its line names, and these stand further down. Imports inside a function count, imports for type
checkers do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {"zwaif_hooks": ROOT / "hooks" / "zwaif_hooks", "zwaif_fallback": ROOT / "zwaif_fallback"}

HOOKS = """
testing         background failover guard_settings host host_handle masking messages plugins runtime specs stream
startup         bridge host log
hooks           specs
bridge          background failover guard_settings guards host host_handle log messages plugins runtime turn_log
guards          failover host messages network runtime stream
runtime         background failover plugins reply turn_log
failover        background log messages network reply storage stream turn_log
guard_settings  host
plugins         background engines host host_handle log masking messages specs storage
host            log masking messages storage
network         messages stream
host_handle     turn_log
turn_log        background log messages storage
log             masking storage
reply           background messages
specs           messages
engines         messages
stream          background messages
background
masking
messages
storage
"""

FALLBACK = """
testing         answering demo engine_types engines settings standin
testing         hooks/log hooks/messages hooks/specs hooks/testing
__main__        cli
cli             addresses answering choosing demo doctor downloads engine_types engines errors hardware install_hints
cli             local models prompt restart settings standin ui zwaif_tree
cli             hooks/failover hooks/host hooks/host_handle hooks/masking hooks/messages hooks/network hooks/plugins
cli             hooks/log hooks/runtime hooks/specs hooks/turn_log
plugin          answering choosing local models pictures prompt restart settings ui
plugin          hooks/failover hooks/host hooks/host_handle hooks/log hooks/messages hooks/specs
doctor          addresses answering choosing errors hardware install_hints llama_servers local models pictures
doctor          restart settings workers zwaif_tree
doctor          hooks/failover hooks/host hooks/log hooks/messages hooks/network hooks/startup
ui              addresses answering choosing downloads engine_types errors hardware models settings
ui              hooks/failover hooks/host hooks/host_handle hooks/log hooks/masking hooks/messages hooks/network
ui              hooks/stream hooks/turn_log
restart         addresses answering choosing errors models
restart         hooks/failover hooks/log hooks/network hooks/storage
answering       addresses choosing downloads engine_types engines errors local prompt reply_quality
answering       reply_stream
answering       hooks/background hooks/failover hooks/log hooks/messages hooks/network hooks/reply
answering       hooks/storage hooks/stream
local           engine_types engines errors hardware models prompt reply_stream workers
local           hooks/background hooks/log hooks/messages hooks/stream
reply_quality   languages prompt text
reply_quality   hooks/messages hooks/reply
demo            errors standin workers
pictures        engines errors hardware install_hints models workers
pictures        hooks/messages hooks/storage
prompt          errors languages models text workers
prompt          hooks/host hooks/log hooks/messages hooks/reply
downloads       choosing errors models
downloads       hooks/storage
workers         engine_types engines errors hardware install_hints
workers         hooks/log hooks/messages
zwaif_tree      choosing errors models settings
zwaif_tree      hooks/engines hooks/host hooks/plugins hooks/startup
choosing        engine_types errors hardware install_hints llama_servers models
choosing        hooks/host
engines         engine_types errors hardware install_hints llama_servers models
engines         hooks/engines hooks/log hooks/messages hooks/plugins hooks/storage
llama_servers   hardware models
llama_servers   hooks/storage
models          errors
models          hooks/engines hooks/plugins hooks/storage
addresses       hooks/network
engine_types    hooks/messages
errors
hardware
install_hints
languages
reply_stream    hooks/stream
settings        hooks/guard_settings hooks/host
standin
text            hooks/reply
"""


class Import(NamedTuple):
    importer: str
    imported: str


def parsed(table: str) -> dict[str, set[str]]:
    """Rooms in the order of the table, each with the rooms that it may import."""
    rooms: dict[str, set[str]] = {}
    for line in table.strip().splitlines():
        room, *imports = line.split()
        rooms.setdefault(room, set()).update(imports)
    return rooms


@cache
def modules() -> dict[str, Path]:
    """Every module of both packages, by its dotted name. The copy of Z-Waif in the stand-in is not ours."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            inside = path.relative_to(folder).with_suffix("")
            if inside.parts[:2] != ("standin", "tree"):
                parts = [part for part in inside.parts if part != "__init__"]
                found[".".join([package, *parts])] = path
    return found


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_names(node: ast.AST) -> Iterator[str]:
    """Dotted names that this code imports: modules, and names inside modules."""
    if isinstance(node, ast.If) and is_for_type_checkers(node):
        for child in node.orelse:
            yield from imported_names(child)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name the whole path"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from imported_names(child)


def module_of(name: str) -> str | None:
    """The module of ours that a dotted name belongs to."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


@cache
def imports() -> frozenset[Import]:
    """Every import of one module of ours by another."""
    found = set()
    for importer, path in modules().items():
        for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
            imported = module_of(name)
            if imported not in (None, importer, *FOLDERS):
                found.add(Import(importer, str(imported)))
    return frozenset(found)


def room_of(module: str, seen_from: str) -> str:
    """The room of a module; in another package than ``seen_from`` as ``hooks/room``."""
    package, _, inside = module.partition(".")
    room = inside.partition(".")[0]
    return room if package == seen_from else f"{package.removeprefix('zwaif_')}/{room}"


def arrows(package: str) -> set[tuple[str, str]]:
    """Importing and imported room, of every import that leaves a room of ``package``."""
    found = {
        (room_of(one.importer, package), room_of(one.imported, package))
        for one in imports()
        if one.importer.startswith(f"{package}.")
    }
    return {(importer, imported) for importer, imported in found if importer != imported}


TABLES = [("zwaif_hooks", parsed(HOOKS)), ("zwaif_fallback", parsed(FALLBACK))]


@pytest.mark.parametrize(("package", "table"), TABLES)
def test_every_room_is_in_the_table(package: str, table: dict[str, set[str]]) -> None:
    rooms = {room_of(module, package) for module in modules() if module.startswith(f"{package}.")}
    assert rooms == set(table)


@pytest.mark.parametrize(("package", "table"), TABLES)
def test_a_room_imports_only_what_its_line_names(package: str, table: dict[str, set[str]]) -> None:
    not_named = {(importer, imported) for importer, imported in arrows(package) if imported not in table[importer]}
    assert not_named == set()


@pytest.mark.parametrize(("package", "table"), TABLES)
def test_a_room_imports_only_rooms_further_down(package: str, table: dict[str, set[str]]) -> None:
    order = list(table)
    upwards = {
        (package, importer, imported)
        for importer, imports_of_it in table.items()
        for imported in imports_of_it
        if "/" not in imported and order.index(imported) < order.index(importer)
    }
    assert upwards == set()


def test_the_plugin_system_does_not_import_the_plugin() -> None:
    assert not [one for one in imports() if one.importer.startswith("zwaif_hooks") and "zwaif_fallback" in one.imported]


def test_no_modules_import_each_other() -> None:
    assert circles(imports()) == []


def circles(edges: frozenset[Import]) -> list[set[str]]:
    """Groups of modules of which each reaches every other by imports."""
    followers: dict[str, set[str]] = {}
    for one in edges:
        followers.setdefault(one.importer, set()).add(one.imported)

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            new = followers.get(waiting.pop(), set()) - found
            found |= new
            waiting.extend(new)
        return found

    reach = {module: reached(module) for module in followers}
    in_a_circle = {module for module, others in reach.items() if module in others}
    groups = {
        frozenset(other for other in reach[module] & in_a_circle if module in reach[other]) for module in in_a_circle
    }
    return [set(group) for group in groups]


def test_a_circle_is_found() -> None:
    edges = frozenset({Import("a", "b"), Import("b", "c"), Import("c", "a"), Import("c", "d")})
    assert circles(edges) == [{"a", "b", "c"}]
