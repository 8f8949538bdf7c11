"""The sandbox in which chat templates are rendered. A template is a program that comes with a model from anywhere.

Jinja's own sandbox lists what is forbidden, and had gaps (CVE-2024-56326, CVE-2025-27516). This one lists what is
allowed: the methods of strings, lists and dictionaries that real templates call, a few functions and filters. No Python
function can be reached that leads to its module. Endless work is stopped from outside (:mod:`.template_client`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from types import BuiltinMethodType, MethodType
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

LONGEST_PROMPT = 4_000_000
"""Maximum characters of a rendered prompt."""
_TEXT_METHODS = """
    capitalize count endswith find index isdigit isspace join lower lstrip partition removeprefix removesuffix replace
    rfind rpartition rsplit rstrip split splitlines startswith strip title upper
"""
_LOOP = "changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0"
_ATTRIBUTES: dict[type, frozenset[str]] = {
    str: frozenset(_TEXT_METHODS.split()),
    dict: frozenset(("get", "items", "keys", "values")),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    LoopContext: frozenset(_LOOP.split()),
}
_FILTERS = """
    abs capitalize count d default dictsort e escape first float format indent int items join last length list lower map
    max min reject rejectattr replace reverse round safe select selectattr sort string sum title trim unique upper
"""


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Return the text that ``template`` makes of ``variables``, which are plain data.

    Raises:
        jinja2.TemplateError: the template is wrong, refuses the variables, or uses something that is not allowed.
        Exception: anything else; the template is untrusted code.
    """
    pieces, length = [], 0
    for piece in _compiled(template).generate(**variables):
        pieces.append(piece)
        length += len(piece)
        if length > LONGEST_PROMPT:
            raise jinja2.TemplateError(f"it writes more than {LONGEST_PROMPT} characters")
    return "".join(pieces)


@lru_cache(maxsize=8)
def _compiled(template: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(template)


class _Environment(ImmutableSandboxedEnvironment):
    """Whitespace rules, functions and filters as in transformers; access is limited to the lists above."""

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
        # Refused when used, not when parsed: many templates have a part for tools, which never runs here.
        allowed = _FILTERS.split()
        self.filters = {name: it if name in allowed else _refused(name) for name, it in self.filters.items()}
        self.filters["tojson"] = _tojson
        self.globals = {
            "range": safe_range,
            "dict": dict,
            "namespace": Namespace,
            "raise_exception": _raise,
            "strftime_now": _strftime_now,
        }
        self._functions = frozenset(map(id, self.globals.values()))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return ``obj.attribute``: an allowed attribute, else an entry of a dictionary."""
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        if self._may_read(obj, attribute):
            return getattr(obj, attribute, self.undefined(obj=obj, name=attribute))
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return ``obj[argument]``: an entry, else an allowed attribute."""
        if isinstance(obj, Undefined):
            obj._fail_with_undefined_error()
        if isinstance(obj, dict | list | tuple | str):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        return self.getattr(obj, argument) if isinstance(argument, str) else self.undefined(obj=obj, name=argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Called by some of Jinja's own filters."""
        return self._may_read(obj, attr)

    def is_safe_callable(self, obj: Any) -> bool:
        """Allow the functions above, macros, recursive loops, and allowed methods of plain values."""
        if isinstance(obj, Macro | LoopContext) or id(obj) in self._functions:
            return True
        return isinstance(obj, BuiltinMethodType | MethodType) and self._may_read(obj.__self__, obj.__name__)

    def _may_read(self, obj: Any, attribute: str) -> bool:
        if isinstance(obj, Namespace):
            return not attribute.startswith("_")
        return any(attribute in allowed for kind, allowed in _ATTRIBUTES.items() if isinstance(obj, kind))


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks training data in some templates; its body is rendered normally."""

    tags = {"generation"}  # noqa: RUF012 - declared like this by jinja2

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: object) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _strftime_now(pattern: str) -> str:
    return _date(pattern, datetime.now())


def _date(pattern: str, when: datetime) -> str:
    """Like ``strftime``, but the same on every system: Windows has no ``%-d`` (no leading zero)."""

    def one(directive: re.Match[str]) -> str:
        text = when.strftime(f"%{directive[2]}")
        return text.lstrip("0 ") or "0" if directive[1] else text

    return re.sub("%(-?)([A-Za-z%])", one, pattern)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON with the options that transformers allows; Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise SecurityError(f"the filter {name!r} is not available to chat templates")

    return refuse


_ENVIRONMENT = _Environment()
