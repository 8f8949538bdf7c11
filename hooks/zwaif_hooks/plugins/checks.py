"""Says what is wrong with a plugin's hooks before any of them is called."""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import ModuleType, UnionType
from typing import Any

import pluggy

from zwaif_hooks import specs
from zwaif_hooks.host_handle import Host

MARK = f"{specs.PROJECT}_impl"

_parse = pluggy.PluginManager(specs.PROJECT).parse_hookimpl_opts


def hook_names() -> list[str]:
    """Return the names of all hooks."""
    return list(_specified())


def hook_of(name: str, options: Mapping[str, Any]) -> str:
    """Return the name of the hook that a marked function implements."""
    return options.get("specname") or name


def marked(plugin: object) -> dict[str, Mapping[str, Any]]:
    """Return the options of each function that is marked with ``@hookimpl``, by its name.

    Raises:
        TypeError: ``plugin`` is a class with methods that need an instance.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name in dir(plugin):
        options = _parse(plugin, name)
        if options is not None:
            found[name] = options
    if isinstance(plugin, type):
        for name in found:
            if not isinstance(inspect.getattr_static(plugin, name), (staticmethod, classmethod)):
                raise TypeError(f"{plugin.__name__} is a class; the entry point must name an instance of it")
    return found


def faults(plugin: object, marked: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each function that looks like a hook and cannot be called as one, and why, in one line.

    Raises:
        ValueError: there is no hook at all.
    """
    for name, options in marked.items():
        if why := _unusable(plugin, name, options):
            yield name, why
    forgotten = _unmarked(plugin, {hook_of(name, options) for name, options in marked.items()})
    for name in forgotten:
        yield name, f"its {name} is not marked with @hookimpl"
    if not marked and not forgotten:
        raise ValueError(f"no function of it is marked with @hookimpl{_class_with_hooks(plugin)}")


def _class_with_hooks(plugin: object) -> str:
    """Return a hint if a module has its hooks in a class; otherwise nothing."""
    for name, item in vars(plugin).items() if isinstance(plugin, ModuleType) else ():
        if isinstance(item, type) and any(getattr(member, MARK, None) for member in vars(item).values()):
            return f"; its class {name} has hooks: make an instance of it, and name that (MODULE:INSTANCE)"
    return ""


def _unusable(plugin: object, name: str, options: Mapping[str, Any]) -> str:
    """Return why a marked function cannot be called, in one line; empty if it can."""
    hook = hook_of(name, options)
    if options.get("wrapper") or options.get("hookwrapper"):
        return f"its {hook} is a hook wrapper; use tryfirst or trylast instead"
    spec = _specified().get(hook)
    if spec is None:
        return "" if options.get("optionalhook") or hook.startswith("_") else _no_such_hook(hook)
    function = getattr(plugin, name)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return f"its {hook} is async and would never run; write def in place of async def"
    if inspect.isgeneratorfunction(function) and inspect.signature(spec).return_annotation in (None, "None"):
        return f"its {hook} has a yield and would never run; remove the yield"
    given = inspect.signature(spec).parameters
    for argument in _arguments(function):
        if argument.name not in given:
            return f"its {hook} asks for {argument.name!r}, but that hook only has {_listed(given)}"
        if argument.kind is inspect.Parameter.KEYWORD_ONLY:
            return f"its {hook} takes {argument.name!r} by keyword only; remove the * before it"
    return ""


def doubts(plugin: object, marked: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each annotation of a hook that promises what the hook never gets, or must not return."""
    for name, options in marked.items():
        spec = _specified().get(hook_of(name, options))
        if spec is None:
            continue
        given, expected = _types(getattr(plugin, name)), _types(spec)
        result = given.pop("return", None)
        for argument, annotated in given.items():
            passed = expected.get(argument, Any)
            if _is_class(annotated) and _is_class(passed) and not issubclass(passed, annotated):
                yield f"its {name} takes {argument} as {annotated.__name__}, but gets {passed.__name__}"
        for unusable in _unusable_results(result, expected.get("return")):
            yield f"its {name} returns {_named(unusable)}; the hook returns {_named(expected.get('return'))}"


def _unusable_results(result: Any, expected: Any) -> Iterator[Any]:
    """Yield each class of an annotated result that the hook cannot use. Any is usable, and so is what is no class."""
    usable = tuple(one for one in map(_class_of, _members(expected)) if one is not None)
    if not usable or usable == (type(None),):  # the result of such a hook is ignored
        return
    for one in _members(result):
        made = _class_of(one)
        if made not in (None, object) and (made in _NEVER_TEXT or not issubclass(made, usable)):
            yield one


_NEVER_TEXT = (bytes, bytearray, dict)
"""Iterable, but not text in pieces."""


def _members(annotated: Any) -> tuple[Any, ...]:
    """Return the members of a union; anything else as the only one."""
    return typing.get_args(annotated) if typing.get_origin(annotated) in (typing.Union, UnionType) else (annotated,)


def _class_of(annotated: Any) -> type | None:
    """Return the class of an annotation such as ``str``, ``None`` or ``Iterator[str]``; None if it is none."""
    origin = type(None) if annotated is None else typing.get_origin(annotated) or annotated
    return origin if _is_class(origin) else None


def _named(annotated: Any) -> str:
    """Return an annotation as one would write it, without the modules of its classes."""
    if isinstance(annotated, type) and not typing.get_args(annotated):
        return "None" if annotated is type(None) else annotated.__name__
    return re.sub(r"\b(?:\w+\.)+", "", str(annotated)).replace("NoneType", "None")


def _unmarked(plugin: object, implemented: set[str]) -> list[str]:
    """Return the functions that have a hook's name and no ``@hookimpl``."""
    return [
        name
        for name in hook_names()
        if name not in implemented
        and inspect.isroutine(member := inspect.getattr_static(plugin, name, None))
        and getattr(member, MARK, None) is None
        and _is_its_own(plugin, member)
    ]


def _is_its_own(plugin: object, member: Any) -> bool:
    """Return whether a module's function was written in it. One that it imported may be anything."""
    return not isinstance(plugin, ModuleType) or getattr(member, "__module__", "") == plugin.__name__


@cache
def _specified() -> dict[str, Callable[..., Any]]:
    mark = f"{specs.PROJECT}_spec"
    return {name: item for name, item in vars(specs).items() if getattr(item, mark, None) is not None}


def _no_such_hook(hook: str) -> str:
    near = difflib.get_close_matches(hook, hook_names(), n=1)
    rest = f"did you mean {near[0]!r}?" if near else f"there are {_listed(hook_names())}"
    return f"there is no hook {hook!r}; {rest}"


def _arguments(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the arguments without a default, which the plugin system has to fill in."""
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [one for one in parameters if one.kind not in rest and one.default is inspect.Parameter.empty]


def _is_class(annotated: Any) -> bool:
    """Return whether an annotation is a class that ``issubclass`` can decide; a protocol is none, and Any may be."""
    return isinstance(annotated, type) and annotated is not Any and not getattr(annotated, "_is_protocol", False)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _types(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations that can be read; a plugin may annotate with names that only a type checker imports."""
    try:
        return typing.get_type_hints(function, localns={"Host": Host})
    except Exception:
        return {}
