"""Which names and declarations of a plugin's settings are allowed, and what a mistyped key may mean."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from zwaif_hooks.host.setting import BadSetting, Setting

_NAME = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
_LONGEST_NAME = 64
_RESERVED = ("API_FALLBACK_", "FALLBACK_", "GRADIO_", "PYTHON", "LD_", "DYLD_")
"""Beginnings of names that this package, Gradio, Python or the system's loader read."""
_SWITCHES = frozenset(
    f"ZWAIF_{end}"
    for end in ("PLUGINS", "PLUGINS_DIR", "BLOCK_PLUGINS", "ALLOW_PLUGINS", "PLUGIN_ORDER", "TRACE_PLUGINS", "DEBUG")
)
_SIMILAR = 0.85
"""How alike two names must be for one to be a mistyped other, if they do not begin alike (``difflib``)."""

_ZWAIF_KEYS = """
    ALARM_TIME API_CHARACTER_CONTEXT API_STREAM_CHATS API_TYPE API_TYPE_VISUAL ASTERISK_BAN AUDIO_DEVICE
    AUTOCHAT_MIN_LENGTH AUTOCHAT_SENSITIVITY AUTO_BACKUP AUTO_DETECT_LANGUAGE AUTO_SAVE_INTERVAL AVATAR_AUTO_RESTART
    AVATAR_CONTINUOUS_MODE AVATAR_EMOTION_MAPPING AVATAR_RENDER_QUALITY BACKUP_INTERVAL CHARACTER_CARD
    CHARACTER_CONTEXT CHAR_NAME CHAT_HISTORY_LIMIT DEBUG_MODE DEFAULT_LANGUAGE DEFAULT_RELATIONSHIP_LEVEL
    DISABLE_FLASH_ATTN DISCORD_CHANNEL DISCORD_TOKEN EMOTION_ANALYSIS_ENABLED EMOTION_INTENSITY_SCALING EYES_FOLLOW
    EYES_START_ID FALLBACK_AUTO_SWITCH FALLBACK_MAX_RETRIES FALLBACK_MODEL_ORDER FALLBACK_TIMEOUT
    FALLBACK_VRAM_MONITORING FASTER_WHISPER FASTER_WHISPER_CPU_TRANSCRIPTION FORMAL_FILTER_CUSTOM_PATTERNS
    FORMAL_FILTER_CUSTOM_PHRASES FORMAL_FILTER_ENABLED FORMAL_FILTER_REPLACEMENT_MODE FORMAL_FILTER_STRENGTH
    FREQUENCY_PENALTY HOST_PORT HOTKEYS_BOOT HOTKEYS_LOCKED IMG_HOST IMG_PORT IMG_SCALE LANGUAGE_DETECTION_CONFIDENCE
    LOG_LEVEL MAX_RESPONSE_LENGTH MAX_TOKENS MEMORY_CLEANUP_FREQUENCY MEMORY_PERSISTENCE MESSAGE_PAIR_LIMIT MIC_DEVICE
    MODEL_NAME MODEL_PRESET MODEL_TEMPLATE MODEL_TYPE MODULE_ALARM MODULE_DISCORD MODULE_GAMING MODULE_MINECRAFT
    MODULE_RAG MODULE_REALTIME_AVATAR MODULE_TWITCH MODULE_UNITY_AVATAR MODULE_VISUAL MODULE_VTUBE NEWLINE_CUT
    NEWLINE_CUT_BOOT OLLAMA_HOST OLLAMA_VISUAL_CARD OLLAMA_VISUAL_ENCODE_GUIDANCE OOBA_VISUAL_CHARACTER_NAME
    OOBA_VISUAL_PRESET_NAME OOGABOOGA_SUPPORT_HOST PARTNER_NAME PRESENCE_PENALTY PRESET_NAME REALTIME_EMOTION_SYNC
    RELATIONSHIP_DECAY_RATE RELATIONSHIP_MEMORY_ENABLED RELATIONSHIP_PARTNER_NAME RELATIONSHIP_PROGRESSION_SPEED
    RELATIONSHIP_RESPONSES_ENABLED RELATIONSHIP_SYSTEM_ENABLED RP_SUP_BOOT RVC_HOST RVC_MODEL RVC_PITCH RVC_PORT
    RVC_SPEAKER RVC_SPEED SEARCH_POINT_SIZE SEMI_AUTO_CHAT SILERO_VAD SPEAK_ONLY_SPOKENTO SPEAK_SHADOWCHATS
    SUMMARY_TOKENS_MAX_COUNT SUPRESS_RP TEMPERATURE TEMP_LEVEL TIME_IN_ENCODING TOKEN_LIMIT TOP_K TOP_P
    TWITCH_AUTO_RESPOND TWITCH_BOT_NAME TWITCH_CHANNEL TWITCH_CHANNELS TWITCH_CLIENT_ID TWITCH_CLIENT_SECRET
    TWITCH_COOLDOWN_SECONDS TWITCH_MAX_MESSAGE_LENGTH TWITCH_PERSONALITY TWITCH_RESPONSE_CHANCE TWITCH_TOKEN
    UNITY_AVATAR_FALLBACK UNITY_AVATAR_FPS UNITY_AVATAR_QUALITY USE_CHATPOPS USE_ROLLING_SUMMARIES USE_RVC
    VERBOSE_DETECTION VIRTUAL_CAMERA_BACKEND VISUAL_CHARACTER_NAME VISUAL_PRESET_NAME VOICE_SPEED VOICE_VOLUME
    VTUBE_AVATAR_MODE VTUBE_FACE_TRACKING VTUBE_MODEL_NAME VTUBE_STUDIO_API_HOST VTUBE_STUDIO_API_PORT
    VTUBE_VIRTUAL_CAMERA WEB_UI_PORT WEB_UI_SHARE WEB_UI_THEME WHISPER_CHOICE WHISPER_CHUNKS_MAX WHISPER_CHUNKY
    WHISPER_CHUNKY_RATE WHISPER_MODEL WHISPER_TURBO WHISPER_TURBO_CPU_TRANSCRIPTION YOUR_NAME ZW_LMSTUDIO_MODEL
    ZW_LMSTUDIO_MODEL_VISUAL ZW_OLLAMA_MODEL ZW_OLLAMA_MODEL_VISUAL
"""
ZWAIF_KEYS = frozenset(_ZWAIF_KEYS.split())
"""Every key that the code or the ``.env`` of any release from V1.3 to v1.15 names, except the five of v1.14-R4 that
are this package's settings as well."""


def prefixes(plugin: str) -> tuple[str, ...]:
    """Return how the names of a plugin's settings begin; ``zwaif-weather`` may leave out the first word."""
    words = [word for word in re.split(r"[^A-Z0-9]+", plugin.upper()) if word]
    short = words[1:] if len(words) > 1 and words[0] == "ZWAIF" else []
    return tuple("_".join(some) + "_" for some in (words, short) if some)


def why_not_allowed(setting: Setting, plugin: str) -> str:
    """Return why a declaration could harm others, or why no value could satisfy it; empty if it is allowed."""
    return _bad_name(setting.name, plugin) or _bad_rules(setting)


def _bad_name(name: object, plugin: str) -> str:
    begins = prefixes(plugin)
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        example = f"{begins[0] if begins else 'PLUGIN_'}CITY"
        return f"a name has upper-case letters, digits and single underscores, for example {example}"
    if name in ZWAIF_KEYS:
        return "it is a key of Z-Waif's own"
    if name in _SWITCHES or name.startswith(_RESERVED):
        return "the name is reserved"
    if not name.startswith(begins):
        return f"its name must begin with {' or '.join(begins)}"
    return ""


def _bad_rules(setting: Setting) -> str:
    default: object = setting.default
    if not isinstance(default, (bool, int, float, str)):
        return f"its default is a {type(default).__name__}; a setting is a bool, int, float or str"
    told: object = setting.help
    if not isinstance(told, str) or not told.strip():
        return "it has no help text"
    if setting.live_name:
        return "live_name is reserved for Z-Waif's own switches"
    if setting.secret and (setting.default != "" or setting.choices or setting.editable):
        return "a secret is text, its default is empty, it has no choices, and it is never editable on the page"
    try:
        usable = setting.default == "" or setting.parse(setting.default) == setting.default
    except (BadSetting, re.error, TypeError) as error:
        return f"its default breaks its own rules ({error})"
    return "" if usable else "its default breaks its own rules"


def mistyped(names: Iterable[str], table: Iterable[Setting]) -> Iterator[str]:
    """Yield a line for each of ``names`` (keys in ``.env``) that looks like a mistyped setting of a plugin."""
    owners = {setting.name: setting.plugin for setting in table}
    by_plugin = {name: plugin for name, plugin in owners.items() if plugin}
    for name in dict.fromkeys(names):
        if name in owners or name in ZWAIF_KEYS or name in _SWITCHES or name.startswith(_RESERVED):
            continue
        plugin, begin = _plugin_by_prefix(name.upper(), set(by_plugin.values()))
        if plugin:
            ends = [one.removeprefix(begin) for one, owner in by_plugin.items() if owner == plugin]
            near = [f"{begin}{end}" for end in difflib.get_close_matches(name.upper().removeprefix(begin), ends, n=1)]
        else:
            near = difflib.get_close_matches(name.upper(), by_plugin, n=1, cutoff=_SIMILAR)
        if plugin or near:
            ask = f"; did you mean {near[0]}?" if near else ""
            yield f"{name} is not a setting of plugin {plugin or by_plugin[near[0]]!r}{ask}"


def _plugin_by_prefix(name: str, plugins: set[str]) -> tuple[str, str]:
    """Return the plugin whose settings begin like ``name``, and that beginning (the longest); empty if none do."""
    fits = [(begin, plugin) for plugin in plugins for begin in prefixes(plugin) if name.startswith(begin)]
    begin, plugin = max(fits, key=lambda fit: len(fit[0]), default=("", ""))
    return plugin, begin
