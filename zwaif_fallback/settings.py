"""The one table of settings. It feeds ``.env``, ``utils.settings``, the Settings tab, the CLI and the documentation."""

from __future__ import annotations

from zwaif_hooks.host.settings import Setting
from zwaif_hooks.settings import GUARD_SETTINGS

DEFAULT_MODEL = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"

SETTINGS: tuple[Setting, ...] = (
    *GUARD_SETTINGS,
    Setting(
        "API_FALLBACK_MODEL",
        DEFAULT_MODEL,
        "The local model that answers: a name from the list, a Hugging Face name such as owner/model, a file or folder "
        "on this computer, a model of another program such as ollama:llama3.2:3b, or auto for the best that fits. "
        "While you choose none and the default is not on this computer, the best that is here answers.",
        label="Fallback Model",
    ),
    Setting(
        "API_FALLBACK_HOST",
        "",
        "A second LLM server to ask before the local model, as address:port or http://address:port (anything that "
        "speaks the OpenAI API). Empty, or the same as your main server, means none.",
        label="Fallback Host",
    ),
    Setting(
        "API_FALLBACK_TRUSTED_HOST",
        "",
        "The host that gets the key in API_FALLBACK_API_KEY and may be outside your private network. Empty: the one "
        "in API_FALLBACK_HOST. The Settings tab never changes who that is: when a host is changed there, it writes the "
        "former one down here (none where there was none). zwaif-fallback settings set API_FALLBACK_HOST trusts its "
        "host.",
        label="Trusted host",
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_HOST_MODEL",
        "",
        "The model to ask that second server for. Empty lets the server choose.",
        label="Model on the fallback host",
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_PRELOAD",
        "auto",
        "When the local model is loaded: auto loads it at the first sign of trouble, start loads it when Z-Waif "
        "starts, never loads it only when a reply is needed. warm keeps it loaded and lets it read along while your "
        "server is well, so that it can go on at once; it is only loaded where memory allows.",
        label="Load the local model",
        choices=("auto", "start", "warm", "never"),
    ),
    Setting(
        "API_FALLBACK_STANDBY",
        True,
        "ON keeps a process ready in which a model can be loaded at once, so that the first reply of an outage comes "
        "seconds sooner. It begins when Z-Waif's start is over, takes 40 MB for a GGUF file and up to 400 MB for other "
        "models, and is given back when memory gets short.",
        label="Stand by",
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_DEVICE",
        "auto",
        "Where the local model runs. auto takes the graphics card where there is one; cuda:1 means the second card.",
        label="Device",
        pattern=r"auto|cpu|mps|cuda(:\d{1,2})?",
        looks="auto, cpu, cuda, or one card such as cuda:1",
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_QUANTIZATION",
        "auto",
        "4bit makes a model about a third as big, none loads it as it is, auto takes 4 bits on an NVIDIA card and 8 on "
        "a processor, which change fewer words. A GGUF file is used as it is.",
        label="Quantization",
        choices=("auto", "4bit", "none"),
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_CONTEXT_WINDOW",
        0,
        "How many tokens of conversation the local model sees, reply included. 0 means as many as the model can take.",
        label="Context window",
        minimum=0,
        maximum=1_048_576,
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_MAX_TOKENS",
        0,
        "The longest reply of the local model, in tokens. 0 means as long as Z-Waif asks for.",
        label="Longest reply",
        minimum=0,
        maximum=32_768,
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_TEMPERATURE",
        0.0,
        "How freely the local model picks its words: 0.3 is careful, 1.2 is wild. 0 means as freely as suits the "
        "model: the smaller, the more careful, and more or less so by the mood of Z-Waif's preset.",
        label="Temperature",
        minimum=0,
        maximum=2,
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_THREADS",
        0,
        "How many processor cores the local model may use. 0 lets it choose.",
        label="Processor cores",
        minimum=0,
        maximum=1024,
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_DOWNLOAD",
        False,
        "ON lets a model that is not on this computer be downloaded when Z-Waif starts, without asking. It can be "
        "several gigabytes.",
        label="Download a missing model at start",
        advanced=True,
    ),
    Setting(
        "FALLBACK_MODEL_DIR",
        "models/",
        "More folders in which models are looked for, separated as in PATH. A relative folder is inside Z-Waif's own.",
        label="Model folder",
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_VISION_MODEL",
        "",
        "A small model that puts pictures into words, so that the local model can talk about them: a Hugging Face name "
        "or a folder on this computer, for example Salesforce/blip-image-captioning-large. Empty: she says that she "
        "cannot see.",
        label="Model for pictures",
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_ENGINE_TIMEOUT",
        60.0,
        "Seconds without any progress after which the local model is started afresh.",
        label="Seconds until the local model is restarted",
        minimum=5,
        maximum=3600,
        advanced=True,
    ),
    Setting(
        "API_FALLBACK_LAST_WORDS",
        "",
        "A text file, one line each, with what the companion says when nothing at all can answer. Empty means the "
        "built-in lines.",
        label="Last words",
        advanced=True,
    ),
)
"""Every setting, the guards' included. A key for the fallback host is no setting: it is never written to a file."""

_INTRO = """# Settings

They live in Z-Waif's `.env`, one `KEY = value` line each, and most of them in the Settings tab. A change in the tab
acts at once and is written to `.env`; an edit of `.env` is noticed while Z-Waif runs. Where a key is set more than
once, a variable exported before the start counts most, then the last such line of `.env`, then the default. An empty
value means the default. A value that cannot be used is named in one line on the console; its default counts instead.

`API_FALLBACK_API_KEY`, for a fallback host that wants a key, is read from the environment only and is never written.
It goes to the trusted host only, over https or to this machine.
`ZWAIF_PLUGINS=OFF` in the environment switches off every plugin, this one included.

| Setting | Default | May be | Meaning |
|---|---|---|---|
"""


def as_markdown() -> str:
    """The text of ``docs/settings.md``."""
    return _INTRO + "".join(_row(setting) for setting in SETTINGS)


def _row(setting: Setting) -> str:
    default = setting.text(setting.default)
    return f"| `{setting.name}` | {f'`{default}`' if default else 'empty'} | {setting.expected()} | {setting.help} |\n"
