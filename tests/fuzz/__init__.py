"""Fuzzers of everything that reads what others wrote: ``python -m tests.fuzz``.

Each input follows from its target, the seed and its number alone, so a finding can be made again by these three. A
reader may only raise what it documents, and may take :data:`tests.fuzz.run.MOST_SECONDS` of processor time.
"""
