"""The process that renders chat templates: ``python -m zwaif_fallback.prompt.template_worker``.

Lines as in ``worker_protocol``: ``render`` (a ``template`` and its ``variables``) is answered with ``rendered``.
"""

from __future__ import annotations

import sys
from typing import Any

from zwaif_fallback.errors import ModelError
from zwaif_fallback.local.model_worker import Worker, run
from zwaif_fallback.prompt import template_sandbox
from zwaif_fallback.workers.protocol import pack_error

MOST_MEMORY = 1 << 30
"""Bytes of addresses, where the system can bound them. What is rendered needs a few megabytes."""
_LONGEST_CAUSE = 200


class TemplateWorker(Worker):
    """Renders one template after the other."""

    def _receive(self, message: dict[str, Any]) -> None:
        self._jobs.put(message)

    def _run(self, message: dict[str, Any]) -> None:
        if message["op"] == "ping":
            return self._pong(message)
        try:
            text = template_sandbox.render(message["template"], message["variables"])
        except Exception as error:  # a template is a stranger's program: it may raise anything
            cause = f"{type(error).__name__}: {error}"[:_LONGEST_CAUSE]
            self._send(message["id"], "error", **pack_error(ModelError(cause)))
        else:
            self._send(message["id"], "rendered", text=text)


if sys.platform == "win32":

    def bound_memory() -> None:
        """Windows bounds no addresses; there the parent looks at what this process takes."""

else:

    def bound_memory() -> None:
        """A template that asks for gigabytes gets MemoryError."""
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def main() -> None:
    """The worker for chat templates."""
    bound_memory()
    run(TemplateWorker)


if __name__ == "__main__":
    main()
