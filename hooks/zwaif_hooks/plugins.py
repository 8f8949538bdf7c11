"""The plugin manager: finds plugins, keeps a bad one from hurting anybody, asks them in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pluggy

from zwaif_hooks import specs
from zwaif_hooks.messages import Answer, ChatRequest, Message, ModelInfo, PrimaryFailure

ENTRY_POINT_GROUP = "zwaif"
BLOCK_VARIABLE = "ZWAIF_BLOCK_PLUGINS"
TRACE_VARIABLE = "ZWAIF_TRACE_PLUGINS"

Report = Callable[[str, BaseException | None], None]


class PluginManager:
    """Plugins of one Z-Waif process.

    A plugin that cannot be loaded, registers a hook that does not exist, raises, or returns something unusable is
    reported by name in one line; everyone else goes on as if it had returned ``None``.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._pm = pluggy.PluginManager(specs.PROJECT)
        self._pm.add_hookspecs(specs)
        if os.environ.get(TRACE_VARIABLE):
            self._pm.trace.root.setwriter(lambda text: report("[trace] " + text.rstrip(), None))
            self._pm.enable_tracing()

    @property
    def hook(self) -> Any:
        """pluggy's own caller, for hooks of which every implementation runs."""
        return self._pm.hook

    def names(self) -> list[str]:
        return [name for name, plugin in self._pm.list_name_plugin() if plugin is not None]

    def discover(self) -> None:
        """Register every plugin that declares an entry point in the group ``zwaif``.

        Names listed in ``ZWAIF_BLOCK_PLUGINS`` (comma-separated) are left out without being imported.
        """
        from importlib.metadata import entry_points

        blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")}
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            if entry_point.name in blocked or self._pm.has_plugin(entry_point.name):
                continue
            try:
                plugin = entry_point.load()
            except (Exception, SystemExit) as error:
                self._report(f"Plugin {entry_point.name!r} could not be loaded and is left out: {_line(error)}", error)
                continue
            self.register(plugin, entry_point.name)

    def register(self, plugin: object, name: str) -> bool:
        """Add one plugin; False (and one line) when it does not fit the specifications."""
        try:
            if self._pm.has_plugin(name) or self._pm.is_registered(plugin):
                raise ValueError("it is registered already")
            self._pm.register(plugin, name)
            self._refuse_wrappers(plugin)
        except Exception as error:
            if self._pm.get_plugin(name) is plugin:
                self._pm.unregister(name=name)
            self._report(f"Plugin {name!r} is left out: {_line(error)}", error)
            return False
        for caller in self._pm.get_hookcallers(plugin) or ():
            self._check_spelling(caller, plugin, name)
        for hook, impl in self._implementations(plugin):
            impl.function = self._guarded(impl.function, name, hook)
        return True

    def unregister(self, name: str) -> None:
        if self._pm.has_plugin(name):
            self._pm.unregister(name=name)

    def answer(
        self, request: ChatRequest, failure: PrimaryFailure, skip: Sequence[str] = ()
    ) -> tuple[str, Answer] | None:
        """Ask for a reply, leaving out the plugins named in ``skip``; None when nobody wants to answer."""
        left_out = [plugin for name in skip if (plugin := self._pm.get_plugin(name)) is not None]
        caller = self._pm.subset_hook_caller("on_primary_failure", remove_plugins=left_out)
        answered: tuple[str, Answer] | None = caller(request=request, failure=failure)
        return answered

    def format_prompt(self, messages: Sequence[Message], model: ModelInfo, partial: str) -> str | None:
        written: str | None = self._pm.hook.format_prompt(messages=messages, model=model, partial=partial)
        return written

    def builders(self, gradio: Any, host: Any) -> list[tuple[str, Callable[[], None]]]:
        """One function a plugin that adds to the Settings tab, so that each can be undone by itself."""
        found = []
        for impl in self._pm.hook.register_settings_ui.get_hookimpls():
            arguments = {"gradio": gradio, "host": host}
            call = _bound(_raw(impl.function), [arguments[name] for name in impl.argnames])
            found.append((impl.plugin_name, call))
        return found

    def _implementations(self, plugin: object) -> Iterator[tuple[str, Any]]:
        for caller in self._pm.get_hookcallers(plugin) or ():
            yield from ((caller.name, impl) for impl in caller.get_hookimpls() if impl.plugin is plugin)

    def _refuse_wrappers(self, plugin: object) -> None:
        """A wrapper that raises would take every other plugin's answer with it."""
        for hook, impl in self._implementations(plugin):
            if getattr(impl, "wrapper", False) or impl.hookwrapper:
                raise ValueError(f"its {hook} is a hook wrapper; use tryfirst or trylast instead")

    def _check_spelling(self, caller: Any, plugin: object, name: str) -> None:
        if caller.has_spec() or caller.name.startswith("_"):
            return
        if any(impl.plugin is plugin and not impl.optionalhook for impl in caller.get_hookimpls()):
            known = ", ".join(sorted(n for n in vars(specs) if hasattr(getattr(specs, n), f"{specs.PROJECT}_spec")))
            self._report(f"Plugin {name!r} has a hook {caller.name!r} that does not exist; there are: {known}", None)

    def _guarded(self, function: Callable[..., Any], name: str, hook: str) -> Callable[..., Any]:
        check = _CHECKS.get(hook)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                result = function(*args, **kwargs)
                return check(result, name) if check and result is not None else result
            except (Exception, SystemExit) as error:
                self._report(f"Plugin {name!r} failed in {hook} and is passed over: {_line(error)}", error)
                return None

        guarded.raw = function  # type: ignore[attr-defined]
        return guarded


def _line(error: BaseException) -> str:
    """What it says, or its class where that is no sentence (``KeyError('x')``)."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__} {text}".strip()


def _raw(function: Any) -> Callable[..., Any]:
    raw: Callable[..., Any] = getattr(function, "raw", function)
    return raw


def _bound(function: Callable[..., Any], arguments: list[Any]) -> Callable[[], None]:
    return lambda: function(*arguments)


def _checked_answer(result: Any, name: str) -> tuple[str, Answer]:
    """A text becomes one piece; anything that is not text or an iterable of it is refused."""
    if isinstance(result, Answer):
        return name, result
    if isinstance(result, str):
        if not result.strip():
            raise ValueError("an empty reply; return None to pass")
        return name, Answer([result], name)
    if isinstance(result, Iterable) and not isinstance(result, (bytes, bytearray, dict)):
        return name, Answer(result, name)
    raise TypeError(f"expected text, pieces of text, Answer or None, got {type(result).__name__}")


def _checked_prompt(result: Any, name: str) -> str:
    if isinstance(result, str):
        return result
    raise TypeError(f"expected the prompt as text or None, got {type(result).__name__}")


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "on_primary_failure": _checked_answer,
    "format_prompt": _checked_prompt,
}
