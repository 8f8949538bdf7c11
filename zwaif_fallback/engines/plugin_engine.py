"""Runs the engine of a plugin as one of ours: stop texts are cut, and its mistakes carry the plugin's name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from operator import attrgetter
from pathlib import Path

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_fallback.errors import EngineError
from zwaif_hooks import log
from zwaif_hooks.engines import Engine, EngineOptions, EnginePrompt
from zwaif_hooks.messages import ModelInfo, PluginProblem


def _quiet(line: str) -> None:
    """Ignore the progress of a load."""


def factory_of(factory: str, file: str) -> Callable[[], Engine]:
    """Import the factory of a plugin's engine, ``package.module:callable``, from ``file`` if that is not empty.

    Raises:
        Exception: it cannot be imported, or has no such name.
    """
    from zwaif_hooks.plugins.discovery import PluginFile  # late: few engines need it

    module, _, name = factory.partition(":")
    made: Callable[[], Engine] = attrgetter(name)(PluginFile(Path(file)).load() if file else import_module(module))
    return made


class PluginEngine:
    """The engine of a plugin, not loaded yet.

    Args:
        plugin: its name, for messages.
        factory: ``package.module:callable``, as the plugin declared it in Z-Waif's process.
        model: what to load, as the engine calls it.
        engine: the engine's name.
        file: the plugin's file, if it is a single one and the factory is in it; otherwise empty.
    """

    def __init__(self, plugin: str, factory: str, model: str, engine: str, file: str = "") -> None:
        self._plugin, self._factory, self._model, self._name = plugin, factory, model, engine
        self._file = file
        self._engine: Engine | None = None
        self._cancelled = False

    def prepare(self, options: LoadOptions) -> None:
        with self._blamed("could not be made"):
            self._make()

    def load(self, options: LoadOptions, progress: Callable[[str], None] = _quiet) -> LoadedModel:
        began = time.perf_counter()
        with self._blamed("could not be made"):
            engine = self._engine = self._make()
        with self._blamed(f"could not load {self._model}"):
            info = engine.load(EngineOptions(self._model, options.device, options.context_window, options.threads))
            if not isinstance(info, ModelInfo):
                raise TypeError(f"load returned {type(info).__name__}, not a ModelInfo")
        window = min(info.context_window, options.context_window or info.context_window)
        return LoadedModel(
            replace(info, name=options.model, engine=self._name, context_window=window),
            engine=self._name,
            device=f"the engine of plugin {self._plugin}",
            load_seconds=time.perf_counter() - began,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        with self._blamed("failed while it counted tokens"):
            return [int(self._loaded().count_tokens(text)) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        stats = stats if stats is not None else GenerationStats()
        self._cancelled = False
        if generation.max_tokens < 1:  # to read the prompt ahead, which only our own engines can
            stats.finish_reason = "length"
            return iter(())
        return self._generated(generation, stats)

    def cancel(self) -> None:
        self._cancelled = True

    def unload(self) -> None:
        self._engine = None

    def _generated(self, generation: Generation, stats: GenerationStats) -> Iterator[str]:
        stops, text = StopFilter(generation.stop), ""
        prompt = EnginePrompt(generation.prompt, generation.max_tokens, generation.stop, generation.sampling)
        stats.prompt_tokens = self.count_tokens([prompt.text])[0]
        with self._blamed("failed while it generated"):
            pieces = iter(self._loaded().generate(prompt))
            try:
                for piece in pieces:
                    stats.generated_tokens += 1  # shows that it is at work; the exact number comes at the end
                    text += piece
                    if safe := stops.feed(piece):
                        yield safe
                    if stops.stopped or self._cancelled:
                        break
                if rest := stops.flush():
                    yield rest
            finally:
                if (close := getattr(pieces, "close", None)) is not None:
                    close()
        stats.generated_tokens = self.count_tokens([text])[0]
        full = stats.generated_tokens >= generation.max_tokens and not stops.stopped
        stats.finish_reason = "cancelled" if self._cancelled else "length" if full else "stop"

    def _make(self) -> Engine:
        made: Engine = factory_of(self._factory, self._file)()
        missing = [part for part in ("load", "count_tokens", "generate") if not callable(getattr(made, part, None))]
        if missing:
            raise TypeError(f"{self._factory} returned {type(made).__name__}, which has no {' and no '.join(missing)}")
        return made

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise EngineError("No model is loaded.")
        return self._engine

    @contextmanager
    def _blamed(self, what: str) -> Iterator[None]:
        """Turn whatever the plugin raises into one line with its name; the traceback goes to the log file."""
        try:
            yield
        except (EngineError, GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # also a SystemExit, which would end the worker without a word
            line = f"Plugin {self._plugin!r}: its engine {what}: {log.in_words(error)}"
            place = None if isinstance(error, PluginProblem) else log.note(line, error)
            raise EngineError(f"{line}{f' (Details: {place})' if place else ''}") from error
