"""Adds sections to Z-Waif's finished page: re-enters its ``gr.Blocks`` and opens the Settings tab again.

Gradio allows a built page to be entered again (tried with 4.36.1, 4.44.1 and 5.50.0), with side effects that are undone
here: entering changes a tab's ``parent``, leaving attaches load events and creates the web application a second time,
and an error inside leaves half a section behind.
"""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from threading import get_ident
from typing import Any

from zwaif_hooks.messages import PluginProblem

Builder = tuple[str, Callable[[], None]]
"""A plugin's name, and a function that creates its components in the open tab."""

SETTINGS_LABEL = "Settings"
OWN_LABEL = "API Fallback"
"""The tab that is added if Z-Waif has no Settings tab."""

_DONE = "_zwaif_hooks_sections"


def add_to_settings_tab(demo: Any, gradio: Any, builders: Sequence[Builder]) -> list[str]:
    """Run each builder inside the Settings tab. Return the names of those whose section was added now.

    A builder that raises leaves one paragraph with its name and the error, and is reported; the others still run. A
    name that is on the page already is skipped, so calling this twice adds nothing.
    """
    done: set[str] = vars(demo).setdefault(_DONE, set())
    added = []
    for name, build in builders:
        if name not in done and _add_section(demo, gradio, name, build):
            added.append(name)
        done.add(name)
    return added


def find_settings_tab(demo: Any, gradio: Any) -> Any | None:
    """Return the least nested tab labelled "Settings" (v1.14-R4 has a second one inside Chat), or None."""
    return _tab(demo, gradio, SETTINGS_LABEL)


@contextmanager
def below(gradio: Any, label: str, kind: type) -> Iterator[Any | None]:
    """Place what is created inside directly below a component of another tab.

    Use it while the Settings tab is open. Yields the component: the first of ``kind`` in the outermost tab with that
    label. Yields None if there is no such component; then nothing must be created.
    """
    demo = import_module(f"{gradio.__name__}.context").Context.root_block
    tab = _tab(demo, gradio, label)
    above = next((block for block in _blocks(demo, kind) if tab is not None and tab in _around(block)), None)
    if above is None:
        yield None
        return
    column = above.parent
    before = len(column.children)
    with _entered(column):
        yield above
    added = column.children[before:]
    del column.children[before:]
    place = column.children.index(above) + 1
    column.children[place:place] = added


def _tab(demo: Any, gradio: Any, label: str) -> Any | None:
    return _outermost((tab for tab in _blocks(demo, gradio.Tab) if _plain(tab.label) == _plain(label)), gradio)


def _add_section(demo: Any, gradio: Any, name: str, build: Callable[[], None]) -> bool:
    from zwaif_hooks import log

    try:
        _build(demo, gradio, build)
    except (Exception, SystemExit) as error:
        words = log.in_words(error)
        known = isinstance(error, PluginProblem)
        log.report(f"Plugin {name!r}: its part of the Settings tab is left out: {words}", None if known else error)
        try:
            _build(demo, gradio, lambda: gradio.HTML(_paragraph(name, words)))
        except Exception as second:
            log.note(f"The page could not show the error of plugin {name!r}", second)
        return False
    return True


def _build(demo: Any, gradio: Any, build: Callable[[], object]) -> None:
    """Create components in the Settings tab: all of them or, if ``build`` raises, none."""
    restore = _snapshot(demo)
    try:
        with _reopened(demo, gradio), _settings_tab(demo, gradio):
            build()
    except BaseException:
        restore()
        raise


def _paragraph(name: str, words: str) -> str:
    return f"<p>Plugin <b>{html.escape(name)}</b>: this section is left out: {html.escape(words)}</p>"


@contextmanager
def _reopened(demo: Any, gradio: Any) -> Iterator[None]:
    """Open the page for new components, and finish it again afterwards."""
    context = import_module(f"{gradio.__name__}.context").Context
    before = context.root_block, context.block
    served = demo.app if getattr(demo, "is_running", False) else None
    try:
        with _load_events_attached_once(demo), _app_made_once(demo, gradio), demo:
            yield
        if served is not None:
            demo.app = served
    finally:
        context.root_block, context.block = before


@contextmanager
def _app_made_once(demo: Any, gradio: Any) -> Iterator[None]:
    """Prevent leaving the page from creating its web application again, which is the slowest step of all.

    The existing application reads the page at each request, and ``launch`` creates another one anyway. If Gradio is not
    as expected, nothing is changed.
    """
    app_class, made, here = import_module(f"{gradio.__name__}.routes").App, getattr(demo, "app", None), get_ident()
    make = vars(app_class).get("create_app")
    if not isinstance(make, staticmethod) or getattr(made, "blocks", None) is not demo:
        yield
        return

    def create_app(blocks: Any, *args: Any, **how: Any) -> Any:
        return made if blocks is demo and get_ident() == here else make.__func__(blocks, *args, **how)

    app_class.create_app = staticmethod(create_app)
    try:
        yield
    finally:
        app_class.create_app = make


@contextmanager
def _load_events_attached_once(demo: Any) -> Iterator[None]:
    """Hide load events that are attached already: leaving the page attaches those of all components."""
    hidden = [(block, block.load_event_to_attach) for block in _blocks(demo, object) if _has_load_event(block)]
    for block, _ in hidden:
        block.load_event_to_attach = None
    try:
        yield
    finally:
        for block, event in hidden:
            block.load_event_to_attach = event


def _has_load_event(block: Any) -> bool:
    return getattr(block, "load_event_to_attach", None) is not None


@contextmanager
def _settings_tab(demo: Any, gradio: Any) -> Iterator[None]:
    """Open the Settings tab, or a new tab after the others if there is none."""
    tab = find_settings_tab(demo, gradio) or _tab(demo, gradio, OWN_LABEL)
    if tab is not None:
        with _entered(tab):
            yield
        return
    tabs = _outermost(_blocks(demo, gradio.Tabs), gradio)
    with _entered(tabs) if tabs is not None else gradio.Tabs(), gradio.Tab(OWN_LABEL):
        yield


@contextmanager
def _entered(block: Any) -> Iterator[None]:
    """Enter a block and restore its parent, which entering changes to the open context."""
    parent = block.parent
    try:
        with block:
            yield
    finally:
        block.parent = parent


def _blocks(demo: Any, kind: type) -> Iterator[Any]:
    return (block for block in list(demo.blocks.values()) if isinstance(block, kind))


def _outermost(blocks: Iterator[Any], gradio: Any) -> Any | None:
    """Return the first block inside the fewest tabs; None if there are no blocks."""
    return min(blocks, key=lambda block: sum(isinstance(outer, gradio.Tab) for outer in _around(block)), default=None)


def _around(block: Any) -> Iterator[Any]:
    while (block := getattr(block, "parent", None)) is not None:
        yield block


def _plain(label: object) -> str:
    """Return letters and digits only, casefolded: an emoji before the word does not matter."""
    return "".join(char for char in str(label or "") if char.isalnum()).casefold()


def _snapshot(demo: Any) -> Callable[[], None]:
    """Remember the whole page. Return a function that restores it, whatever was added or changed."""
    holders = [demo, demo.default_config, *demo.blocks.values(), *demo.fns.values()]
    saved = [(holder, dict(vars(holder)), _contents(holder)) for holder in holders]

    def restore() -> None:
        for holder, attributes, contents in saved:
            vars(holder).clear()
            vars(holder).update(attributes)
            for container, content in contents:
                _refill(container, content)

    return restore


def _contents(holder: Any) -> list[tuple[Any, Any]]:
    kinds = (list, dict, set)
    return [(value, copy.copy(value)) for value in vars(holder).values() if type(value) in kinds]


def _refill(container: Any, content: Any) -> None:
    """Restore a container only if it differs: while the page is served, the server's tables must never be empty."""
    with suppress(ValueError):  # a value that cannot be compared (an array): restore it
        if container == content and list(container) == list(content):
            return
    container.clear()
    (container.extend if isinstance(container, list) else container.update)(content)
