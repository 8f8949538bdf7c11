"""A pluggable hook system for Z-Waif: what a plugin author imports.

Nothing is imported here on purpose: the start-up line runs this file in every Python process of the environment.
Take ``hookimpl`` from :mod:`zwaif_hooks.specs` and the data classes from :mod:`zwaif_hooks.messages`.
"""
