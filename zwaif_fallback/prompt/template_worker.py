"""The worker process that renders chat templates: ``python -m zwaif_fallback.prompt.template_worker``."""

from __future__ import annotations

import sys

from zwaif_fallback.errors import ModelError
from zwaif_fallback.prompt import template_sandbox
from zwaif_fallback.workers.pipe_server import PipeServer, Request

MOST_MEMORY = 1 << 30
"""Bytes of address space, where the system can limit it. Rendering needs a few megabytes."""
_LONGEST_CAUSE = 200


def render(request: Request) -> None:
    try:
        text = template_sandbox.render(request.fields["template"], request.fields["variables"])
    except Exception as error:  # a template is somebody else's program: it may raise anything
        request.fail(ModelError(f"{type(error).__name__}: {error}"[:_LONGEST_CAUSE]))
    else:
        request.reply("rendered", text=text)


if sys.platform == "win32":

    def limit_memory() -> None:
        """Windows cannot limit the address space; there the parent watches the memory of this process."""

else:

    def limit_memory() -> None:
        """Make a template that asks for gigabytes fail with MemoryError."""
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def main() -> None:
    """Serve until the parent is gone."""
    limit_memory()
    PipeServer({"render": render}).serve()


if __name__ == "__main__":
    main()
