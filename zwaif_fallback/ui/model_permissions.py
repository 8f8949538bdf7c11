"""Which models the page may name: those of its own list, and repositories of the Hugging Face hub. No place on a disk.

Whoever reaches the page reaches its functions too: Gradio's are open to any program that can connect. Any other place
has to be written into ``.env``, by somebody who may write there. A name is judged by its letters before the disk is
touched: on Windows a look at ``\\\\server\\share`` is a login.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.models.name_syntax import is_hub_name

if TYPE_CHECKING:
    from zwaif_fallback.models.search import FoundModel

REFUSED = (
    "There is no such model in the list. Pick one from it, or type a name from huggingface.co, as owner/name or "
    "owner/name:file.gguf."
)


class Refused(ModelNotFound):
    """``str(error)`` is one line, to be shown at the list."""


def resolve(name: str, listed: Collection[str], found: Iterable[FoundModel], tree: Path, model_dir: str) -> str:
    """What to load for a name from the page: an absolute path, or a name on the hub.

    Args:
        listed: the values of the list as it is now; the model of the settings is one, wherever its owner has it.

    Raises:
        ModelNotFound: it is neither in the list nor a name on the hub, or a place on this computer has that name.
    """
    if name not in listed and not is_hub_name(name):
        raise Refused(REFUSED)
    resolved = resolve_name.resolve(name, tree, model_dir)
    if name in listed or not Path(resolved).is_absolute() or resolved in _places(found):
        return resolved
    raise Refused(REFUSED)


def _places(found: Iterable[FoundModel]) -> set[str]:
    return {str(place) for model in found for place in (model.path, model.path.resolve(), model.path.absolute())}
