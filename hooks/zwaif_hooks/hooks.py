"""One decorator for each hook, for authors who check their plugin with mypy or pyright::

    import zwaif_hooks as zw

    @zw.hooks.on_primary_failure
    def answer(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> str | None: ...

A function with another argument, another type or another result is an error of the type checker, and so is the name of
a hook that does not exist. The function must take all arguments of the hook, in their order, and may have any name. For
``register_settings_ui`` the first two arguments are enough: it once had no others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from zwaif_hooks import specs

if TYPE_CHECKING:
    from zwaif_hooks.host_handle import Host

P = ParamSpec("P")
R = TypeVar("R")


class Hook(Generic[P, R]):
    """The decorator of one hook: ``@hookimpl`` with the hook's name and types."""

    def __init__(self, spec: Callable[P, R]) -> None:
        self.name = spec.__name__

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...

    @overload
    def __call__(
        self, *, tryfirst: bool = False, trylast: bool = False
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...

    def __call__(self, *function: Any, **options: Any) -> Any:
        """Mark a function as an implementation of this hook. ``tryfirst``, ``trylast``: as of ``hookimpl``."""
        mark = specs.hookimpl(specname=self.name, **options)
        return mark(*function) if function else mark


class _Section(Protocol):
    def __call__(self, gradio: Any, host: Host) -> None: ...


class _LiveSection(Protocol):
    def __call__(self, gradio: Any, host: Host, page: Any, tab: Any, every: specs.Every) -> None: ...


SectionT = TypeVar("SectionT", bound=_Section | _LiveSection)


class SectionHook(Hook[..., None]):
    """The decorator of ``register_settings_ui``, with two arguments or all five."""

    @overload
    def __call__(self, function: SectionT, /) -> SectionT: ...

    @overload
    def __call__(self, *, tryfirst: bool = False, trylast: bool = False) -> Callable[[SectionT], SectionT]: ...

    def __call__(self, *function: Any, **options: Any) -> Any:
        """Mark a function as an implementation of this hook. ``tryfirst``, ``trylast``: as of ``hookimpl``."""
        return super().__call__(*function, **options)


zwaif_started = Hook(specs.zwaif_started)
register_settings = Hook(specs.register_settings)
register_engines = Hook(specs.register_engines)
register_settings_ui = SectionHook(specs.register_settings_ui)
on_primary_failure = Hook(specs.on_primary_failure)
say_while_waiting = Hook(specs.say_while_waiting)
prompt_format = Hook(specs.prompt_format)
format_prompt = Hook(specs.format_prompt)
before_request = Hook(specs.before_request)
will_answer = Hook(specs.will_answer)
sentence_spoken = Hook(specs.sentence_spoken)
turn_finished = Hook(specs.turn_finished)
fallback_answered = Hook(specs.fallback_answered)
primary_late = Hook(specs.primary_late)
primary_answered = Hook(specs.primary_answered)
primary_failed = Hook(specs.primary_failed)
primary_recovered = Hook(specs.primary_recovered)
zwaif_stopping = Hook(specs.zwaif_stopping)
