"""A plugin system for Z-Waif. A plugin needs one import::

    import zwaif_hooks as zw

    @zw.hookimpl
    def on_primary_failure(request: zw.ChatRequest) -> str | None: ...

Names are loaded on first use, because the start-up line runs this file in every Python process of the environment.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zwaif_hooks import hooks as hooks
    from zwaif_hooks import log as log
    from zwaif_hooks.engines import Engine as Engine
    from zwaif_hooks.engines import EngineModel as EngineModel
    from zwaif_hooks.engines import EngineOptions as EngineOptions
    from zwaif_hooks.engines import EnginePrompt as EnginePrompt
    from zwaif_hooks.engines import EngineSpec as EngineSpec
    from zwaif_hooks.host.setting import BadSetting as BadSetting
    from zwaif_hooks.host.setting import NotSaved as NotSaved
    from zwaif_hooks.host.setting import SecretSetting as SecretSetting
    from zwaif_hooks.host.setting import Setting as Setting
    from zwaif_hooks.host_handle import Host as Host
    from zwaif_hooks.messages import Answer as Answer
    from zwaif_hooks.messages import AnswerRecord as AnswerRecord
    from zwaif_hooks.messages import ChatRequest as ChatRequest
    from zwaif_hooks.messages import FailureKind as FailureKind
    from zwaif_hooks.messages import Message as Message
    from zwaif_hooks.messages import ModelInfo as ModelInfo
    from zwaif_hooks.messages import Persona as Persona
    from zwaif_hooks.messages import Picture as Picture
    from zwaif_hooks.messages import PluginProblem as PluginProblem
    from zwaif_hooks.messages import PrimaryFailure as PrimaryFailure
    from zwaif_hooks.messages import PromptFormat as PromptFormat
    from zwaif_hooks.messages import Purpose as Purpose
    from zwaif_hooks.messages import Sampling as Sampling
    from zwaif_hooks.plugins import PluginManager as PluginManager
    from zwaif_hooks.specs import Every as Every
    from zwaif_hooks.specs import hookimpl as hookimpl
    from zwaif_hooks.turn_log import TurnRecord as TurnRecord

API_VERSION = (1, 1)
"""Version of what plugins use: the first number is raised when something is removed or changes its meaning, the second
when something is added. Compare it: ``if zw.API_VERSION >= (1, 2)``."""

_MESSAGES = (
    *("Answer", "AnswerRecord", "ChatRequest", "FailureKind", "Message", "ModelInfo", "Persona", "Picture"),
    *("PluginProblem", "PrimaryFailure", "PromptFormat", "Purpose", "Sampling"),
)
_HOME = {
    **dict.fromkeys(_MESSAGES, "messages"),
    **dict.fromkeys(("Engine", "EngineModel", "EngineOptions", "EnginePrompt", "EngineSpec"), "engines"),
    **dict.fromkeys(("BadSetting", "NotSaved", "SecretSetting", "Setting"), "host.setting"),
    "Host": "host_handle",
    "PluginManager": "plugins",
    "Every": "specs",
    "hookimpl": "specs",
    "TurnRecord": "turn_log",
}
"""Each public name and the module that defines it."""

_MODULES = ("hooks", "log")

__all__ = (*_HOME, *_MODULES, "API_VERSION")


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"zwaif_hooks.{name}")
    if name in _HOME:
        return getattr(import_module(f"zwaif_hooks.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
