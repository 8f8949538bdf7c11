"""Finds plugins, checks them, and calls their hooks so that a faulty plugin harms neither Z-Waif nor the others."""

from zwaif_hooks.plugins.manager import PluginManager
from zwaif_hooks.plugins.state import PluginState, State

__all__ = ["PluginManager", "PluginState", "State"]
