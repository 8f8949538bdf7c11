"""The "API Fallback" section of Z-Waif's Settings tab.

Each file is one part of the section: a class that does the work without Gradio, and a ``…Controls`` class that lays out
the components and wires them. ``section`` puts the parts together, and ``panel`` holds the classes that do the work.

Gradio calls these functions in worker threads. Loads and downloads have their own threads and the page only watches
them, so closing or reloading it interrupts nothing.

This file imports nothing: Z-Waif's start must not wait for the page.
"""
