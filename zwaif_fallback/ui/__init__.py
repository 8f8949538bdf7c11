"""The "API Fallback" section of Z-Waif's Settings tab.

Each file shows one thing and holds both halves of it: a class that does the work, plain functions without Gradio, and
a function that lays the components out in Z-Waif's own idiom. ``section`` puts them together. Gradio runs what a click
asks for in worker threads; loads and downloads have threads of their own, so that closing or reloading the page
interrupts nothing: a function here only watches them.
"""
