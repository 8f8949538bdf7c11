"""Z-Waif's own LLM server, as ``.env`` describes it, and what starts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zwaif_fallback.addresses import is_this_machine, same_server
from zwaif_fallback.answering.who_speaks import server_program
from zwaif_fallback.choosing.auto import env_values
from zwaif_fallback.models.program_folders import this_machine
from zwaif_fallback.restart.start_command import OFF, StartCommand, start_command
from zwaif_hooks.failover.start_check import configured_primary


@dataclass(frozen=True)
class Server:
    """What must be known to start it again."""

    program: str
    """Its program's name for people."""
    kind: str
    """Its program as in ``API_TYPE``."""
    setting: str
    """``API_FALLBACK_RESTART``, which is not ``off``."""
    tree: Path | None
    """Z-Waif's folder."""

    def command(self) -> StartCommand:
        """Return what starts it.

        Raises:
            NoStartCommand: nothing is known.
        """
        return start_command(self.setting, self.kind, this_machine(), self.tree)


def llm_server(address: str, setting: str, tree: Path | None) -> Server | None:
    """Return the server at ``address`` (``host:port``).

    None if it is not to be started again: the setting is ``off``, or it is on another computer, or not the server that
    Z-Waif is set to use. LM Studio's library finds it by itself, so its address is not set.
    """
    environ = env_values(tree)
    kind, configured = configured_primary(environ)
    is_main = kind.casefold() == "lmstudio" or same_server(address, configured)
    if setting.casefold() == OFF or not is_main or not is_this_machine(address):
        return None
    return Server(server_program(environ), kind, setting, tree)
