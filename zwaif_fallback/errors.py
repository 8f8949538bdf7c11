"""Every error this plugin raises on purpose. Users see the texts: each says what is wrong and what to do.

FallbackError
├── ModelError           the local model cannot be used as configured
│   ├── ModelNotFound    no such folder, or not downloaded yet
│   └── ModelTooBig      it does not fit into the free memory
└── EngineError          the local engine failed while it worked
    ├── WorkerDied       the worker process ended (crash, out of memory, killed)
    ├── WorkerHung       the worker process stopped making progress
    └── LocalModelClosed everything was ended, and is not started again
"""

from __future__ import annotations


class FallbackError(Exception):
    """Base class. ``str(error)`` is one line for the user; it ends with what to do, if anything can be done."""


class ModelError(FallbackError):
    pass


class ModelNotFound(ModelError):
    pass


class ModelTooBig(ModelError):
    pass


class EngineError(FallbackError):
    pass


class WorkerDied(EngineError):
    pass


class WorkerHung(EngineError):
    pass


class LocalModelClosed(EngineError):
    def __init__(self, line: str = "The local model was closed.") -> None:
        super().__init__(line)
