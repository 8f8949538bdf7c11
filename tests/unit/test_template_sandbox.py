"""The sandbox of chat templates: real templates come out as in transformers, and nothing of Python's can be reached.

Holds with the Jinja2 that Z-Waif pins (3.1.4) as with newer ones.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from tests.chat_templates import TEMPLATES, WITHOUT_SYSTEM
from zwaif_fallback.prompt import template_sandbox

TALK = [
    {"role": "system", "content": "You are Mia.\n{{user}} likes <b>tea</b> & 你好 /no_think"},
    {"role": "user", "content": "  Hello {you}! </think>"},
    {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nHi. "},
    {"role": "user", "content": "How are you? 🙂"},
]


def variables(**other: Any) -> dict[str, Any]:
    plain = {"messages": TALK, "tools": None, "documents": None, "add_generation_prompt": True}
    return {**plain, "bos_token": "<s>", "eos_token": "</s>", **other}


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_of_real_models_come_out_as_in_transformers(name: str, begun: bool) -> None:
    theirs = pytest.importorskip("transformers.utils.chat_template_utils")._compile_jinja_template(TEMPLATES[name])
    talk = TALK[1:] if name in WITHOUT_SYSTEM else TALK
    given = variables(messages=[*talk, TALK[2]] if begun else talk, add_generation_prompt=not begun)
    said = template_sandbox.render(TEMPLATES[name], given)
    assert said == theirs.render(**given)
    assert "How are you? 🙂" in said


@pytest.mark.parametrize("name", WITHOUT_SYSTEM)
def test_what_a_template_refuses_it_refuses(name: str) -> None:
    with pytest.raises(Exception, match=r"not supported|must alternate"):
        template_sandbox.render(TEMPLATES[name], variables())


_ENVIRONMENT = "{0.__globals__[json].codecs.sys.modules[os].environ}"
_LIBRARY = "{0.__globals__[json].codecs.sys.modules[ctypes].cdll[x.so]}"
_FUNCTIONS = [
    "raise_exception",
    "strftime_now",
    "range",
    "dict",
    "namespace",
    "cycler",
    "joiner",
    "lipsum",
    "f",
    "self",
]
ESCAPES = [
    *("{% macro f() %}{% endmacro %}{{ " + name + ".__globals__ }}" for name in _FUNCTIONS),
    *("{% macro f() %}{% endmacro %}{{ " + name + ".__init__.__globals__ }}" for name in _FUNCTIONS),
    *("{% macro f() %}{% endmacro %}{{ " + name + "['__class__']['__mro__'] }}" for name in _FUNCTIONS),
    *("{% macro f() %}{% endmacro %}{{ '" + _ENVIRONMENT + "'.format(" + name + ") }}" for name in _FUNCTIONS),
    "{{ '" + _ENVIRONMENT + "'.format_map({'0': raise_exception}) }}",
    "{{ raise_exception|tojson(default='" + _ENVIRONMENT + "'.format) }}",
    "{{ raise_exception|tojson(default='" + _LIBRARY + "'.format) }}",
    "{{ raise_exception|tojson(default='" + _ENVIRONMENT + "'|attr('format')) }}",
    "{{ raise_exception|tojson(cls=dict) }}",
    "{{ ('" + _ENVIRONMENT + "'|attr('format'))(raise_exception) }}",
    "{{ ['" + _ENVIRONMENT + "']|map('format', raise_exception)|list }}",
    "{{ ['" + _ENVIRONMENT + "']|map('attr', 'format')|list }}",
    "{{ ['" + _ENVIRONMENT + "']|map(attribute='format')|map('string')|list }}",
    "{% set ns = namespace(f='" + _ENVIRONMENT + "'.format) %}{{ ns.f(raise_exception) }}",
    "{{ '" + _ENVIRONMENT + "'['format'](raise_exception) }}",
    "{{ ('" + _ENVIRONMENT + "'|safe).format(raise_exception) }}",
    "{{ namespace(a=1)._Namespace__attrs }}",
    "{{ namespace(a=1).__class__.__init__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{% for m in messages %}{{ loop._recurse }}{{ loop.__init__.__globals__ }}{{ loop._iterator }}{% endfor %}",
    "{% for m in messages %}{{ loop.cycle.__func__.__globals__ }}{{ loop.changed.__self__ }}{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__base__']['__subclasses__']() }}",
    "{{ messages|map(attribute='__class__')|map(attribute='__base__')|list }}",
    "{{ messages|sort(attribute='__class__.__base__.__subclasses__') }}",
    "{{ messages|groupby('__class__') }}",
    "{{ messages|selectattr('__class__.__init__.__globals__')|list }}",
    "{{ dict.mro()[1].__subclasses__() }}{{ dict.fromkeys.__self__ }}",
    "{{ messages.append({}) }}{{ messages[0].update(role='system') }}{{ messages[0].pop('role') }}",
    "{% include 'secret.txt' %}",
    "{% import 'os' as os %}",
    "{% extends messages[0] %}",
    "{{ (messages|map('upper')).gi_frame.f_globals }}{{ (messages|map('upper')).gi_code }}",
    "{% set f = messages|map('trim') %}{{ f.gi_frame }}{{ f.send }}{{ f.throw }}",
    "{{ undefined_thing.__init__.__globals__ }}{{ undefined_thing._undefined_message }}",
    "{{ ''|xmlattr }}{{ messages|pprint }}{{ ''|urlize }}{{ messages|random }}",
]
_TRACES = ("environ", "module", "function", "built-in", "<class", "object at 0x", "json", "SECRET", "Subclass")


@pytest.mark.parametrize("template", ESCAPES)
def test_nothing_of_python_can_be_reached(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "SECRET")
    before = json.dumps(TALK)
    try:
        said = template_sandbox.render(template, variables())
    except Exception as error:  # refused in whatever words
        said = ""
        assert "SECRET" not in str(error)
    assert not any(trace in said for trace in _TRACES), said
    assert json.dumps(TALK) == before, "a template changes nothing it is given"


def test_what_a_template_writes_has_an_end() -> None:
    endless = "{% for a in range(9999) %}{% for b in range(9999) %}{{ 'aaaaaaaaaaaaaaaa' }}{% endfor %}{% endfor %}"
    with pytest.raises(Exception, match=f"more than {template_sandbox.LONGEST_PROMPT}"):
        template_sandbox.render(endless, variables())


def test_a_turn_may_be_written_by_a_pattern() -> None:
    assert template_sandbox.render("{{ '<%s>%s' | format(messages[0].role, 1) }}", variables()) == "<system>1"


def test_a_part_for_tools_may_use_what_is_not_there_as_long_as_it_does_not_run() -> None:
    assert template_sandbox.render("{% if tools %}{{ tools|pprint }}{% endif %}x", variables()) == "x"
    with pytest.raises(Exception, match="pprint"):
        template_sandbox.render("{% if tools %}{{ tools|pprint }}{% endif %}x", variables(tools=[1]))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%d %b %Y", "05 Mar 2026"),
        ("%-d %B %Y", "5 March 2026"),
        ("%-m/%-d, %-I:%M %p", "3/5, 7:08 AM"),
        ("%-H", "0"),
        ("%Y年%m月%d日, 100%%-d", "2026年03月05日, 100%-d"),
        ("50% off", "50% off"),
    ],
)
def test_a_date_is_written_alike_on_every_system(pattern: str, text: str) -> None:
    """Windows knows no ``%-d``, which Llama's and others' templates use."""
    assert template_sandbox._date(pattern, datetime(2026, 3, 5, 0 if pattern == "%-H" else 7, 8)) == text
