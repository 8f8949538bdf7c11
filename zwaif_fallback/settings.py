"""The table of settings: ``.env``, ``utils.settings``, the Settings tab, the CLI and the documentation use it."""

from __future__ import annotations

from collections.abc import Iterable

from zwaif_hooks.guard_settings import GUARD_SETTINGS
from zwaif_hooks.host.settings_store import Setting

RESTART = "API_FALLBACK_RESTART"
DEFAULT_MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"

SETTINGS: tuple[Setting, ...] = (
    *GUARD_SETTINGS,
    Setting(
        "API_FALLBACK_MODEL",
        DEFAULT_MODEL,
        "The local model: a name from the list, a Hugging Face name such as owner/model, a file or folder on this "
        "computer, another program's model such as ollama:llama3.2:3b, or auto for the best one that fits. If you "
        "choose none and the default is not on this computer, the best model found here answers.",
        label="Fallback Model",
        editable=True,
    ),
    Setting(
        "API_FALLBACK_HOST",
        "",
        "A second LLM server, asked before the local model: address:port or http://address:port of any server with an "
        "OpenAI-compatible API. Empty, or the same as your main server, means none.",
        label="Fallback Host",
        editable=True,
    ),
    Setting(
        "API_FALLBACK_TRUSTED_HOST",
        "",
        "The only host that gets the key in API_FALLBACK_API_KEY, and the only one that may be outside your private "
        "network. Empty means the one in API_FALLBACK_HOST. A change of the host in the Settings tab does not change "
        "the trusted host: the tab writes the previous host here (none if there was none). zwaif-fallback settings set "
        "API_FALLBACK_HOST trusts the host it sets.",
        label="Trusted host",
    ),
    Setting(
        "API_FALLBACK_HOST_MODEL",
        "",
        "The model to request from the second server. Empty lets the server choose.",
        label="Model on the second server",
        editable=True,
    ),
    Setting(
        RESTART,
        "off",
        "Start your LLM server again when its process is gone, if it runs on this computer. auto: the way its program "
        "is usually started. Anything else is the command to run, for example /home/me/llm/start.sh. Set it in .env or "
        "with zwaif-fallback settings set; the Settings tab cannot change it. off: you start it yourself.",
        label="Restart the LLM server",
        looks="off, auto, or a command",
        editable=False,
    ),
    Setting(
        "API_FALLBACK_PRELOAD",
        "auto",
        "When to load the local model. auto: at the first sign of trouble. start: when Z-Waif starts. never: only when "
        "a reply needs it. warm: keep it loaded and let it read every turn while your server works, so it can reply at "
        "once; only if there is enough memory.",
        label="Load the local model",
        choices=("auto", "start", "warm", "never"),
    ),
    Setting(
        "API_FALLBACK_STANDBY",
        True,
        "ON keeps a process ready to load a model, which makes the first reply of an outage seconds faster. It starts "
        "after Z-Waif has started, takes 40 MB for a GGUF file and up to 400 MB for other models, and ends when memory "
        "gets short.",
        label="Standby process",
    ),
    Setting(
        "API_FALLBACK_DEVICE",
        "auto",
        "Where the local model runs. auto uses the graphics card if there is one; cuda:1 is the second card.",
        label="Device",
        pattern=r"auto|cpu|mps|cuda(:\d{1,2})?",
        looks="auto, cpu, cuda, or one card such as cuda:1",
    ),
    Setting(
        "API_FALLBACK_LLAMA_SERVER",
        "auto",
        "The llama.cpp server that runs a GGUF model on the graphics card if the installed xllamacpp cannot. auto "
        "looks for one that you already have, off uses none, and a path names one.",
        label="llama.cpp server for the card",
    ),
    Setting(
        "API_FALLBACK_QUANTIZATION",
        "auto",
        "4bit shrinks a model to about a third, none loads it unchanged, auto uses 4 bits on an NVIDIA card unless "
        "half of it is enough for the unchanged model, and 8 bits on a processor, which change less. A GGUF file is "
        "always used as it is.",
        label="Quantization",
        choices=("auto", "4bit", "none"),
    ),
    Setting(
        "API_FALLBACK_CONTEXT_WINDOW",
        0,
        "How many tokens of the conversation the local model sees, reply included. 0 means the model's own limit.",
        label="Context window",
        minimum=0,
        maximum=1_048_576,
    ),
    Setting(
        "API_FALLBACK_MAX_TOKENS",
        0,
        "The longest reply of the local model, in tokens. 0 means the length that Z-Waif asks for.",
        label="Longest reply",
        minimum=0,
        maximum=32_768,
    ),
    Setting(
        "API_FALLBACK_TEMPERATURE",
        0.0,
        "How freely the local model chooses words: 0.3 is careful, 1.2 is wild. 0 chooses a value for the model: the "
        "smaller it is the lower, adjusted to how lively Z-Waif's preset is.",
        label="Temperature",
        minimum=0,
        maximum=2,
    ),
    Setting(
        "API_FALLBACK_THREADS",
        0,
        "How many processor cores the local model uses. 0 lets it choose.",
        label="Processor cores",
        minimum=0,
        maximum=1024,
    ),
    Setting(
        "API_FALLBACK_DOWNLOAD",
        False,
        "ON downloads the model when Z-Waif starts if it is not on this computer, without asking. That can be several "
        "gigabytes.",
        label="Download a missing model at start",
    ),
    Setting(
        "FALLBACK_MODEL_DIR",
        "models/",
        "More folders to search for models, separated as in PATH. Relative folders start in Z-Waif's folder.",
        label="Model folder",
    ),
    Setting(
        "API_FALLBACK_VISION_MODEL",
        "",
        "A small model that describes pictures in words for the local model: a Hugging Face name or a folder on this "
        "computer, for example Salesforce/blip-image-captioning-large. If empty, the companion says that she cannot "
        "see pictures.",
        label="Vision model",
    ),
    Setting(
        "API_FALLBACK_ENGINE_TIMEOUT",
        60.0,
        "Seconds without any progress after which the local model is restarted.",
        label="Seconds until the local model is restarted",
        minimum=5,
        maximum=3600,
    ),
    Setting(
        "API_FALLBACK_LAST_WORDS",
        "",
        "A text file with lines that the companion says when nothing can answer. Empty means the built-in lines.",
        label="Last words",
    ),
)
"""Every setting, including those of zwaif_hooks. The key for the second server is not among them: it is never saved."""

_INTRO = """# Settings

Settings are stored in Z-Waif's `.env`, one `KEY = value` line each; most are in the Settings tab too. A change in the
tab takes effect at once and is written to `.env`; an edit of `.env` is picked up while Z-Waif runs. If a key is set
more than once, an exported environment variable wins, then the last line in `.env`, then the default. An empty value
means the default. If a value is invalid, the console says so in one line and the default is used.

`API_FALLBACK_API_KEY`, for a second server that needs a key, is read from the environment only and never saved. It is
sent to the trusted host only, over https or to this machine.
`ZWAIF_PLUGINS=OFF` in the environment turns off every plugin, including this one.

"""
_HEADING = """| Setting | Default | Allowed values | Meaning |
|---|---|---|---|
"""


def as_markdown() -> str:
    """Return the text of ``docs/settings.md``."""
    return _INTRO + table_as_markdown(SETTINGS)


def table_as_markdown(settings: Iterable[Setting]) -> str:
    """Return a table of settings for a manual."""
    return _HEADING + "".join(_row(setting) for setting in settings)


def _row(setting: Setting) -> str:
    default = setting.text(setting.default)
    allowed = f"{setting.expected()}; secret" if setting.secret else setting.expected()
    cells = (f"`{setting.name}`", f"`{default}`" if default else "empty", allowed, setting.help)
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |\n"
