"""Deprecated: the old home of ``Setting`` and its errors, which plugins now import from ``zwaif_hooks``."""

import warnings

from zwaif_hooks.host import settings_store

_NAMES = ("BadSetting", "NotSaved", "Setting", "SettingProblem", "SettingsStore", "Value")


def __getattr__(name: str) -> object:
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    message = f"import {name} from zwaif_hooks; zwaif_hooks.host.settings will be removed in version 1.0"
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return getattr(settings_store, name)
