"""Which models may be named on the page: those of its list, and repositories on Hugging Face. No paths.

Any program that can connect to the page can call its functions. Other models have to be written to ``.env``, by
somebody who may write there. The spelling of a name is checked before the disk is touched: on Windows, just looking at
``\\\\server\\share`` is a login.
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
    """The page may not name this model; ``str(error)`` is shown below the list."""


def resolve(name: str, listed: Collection[str], found: Iterable[FoundModel], tree: Path, model_dir: str) -> str:
    """Return what to load for a name from the page: an absolute path, or a name on Hugging Face.

    Args:
        listed: The current values of the list. The model in the settings is one of them, wherever it is.

    Raises:
        ModelNotFound: It is neither in the list nor a name on Hugging Face, or a folder here has that name.
    """
    if name not in listed and not is_hub_name(name):
        raise Refused(REFUSED)
    resolved = resolve_name.resolve(name, tree, model_dir)
    if name in listed or not Path(resolved).is_absolute() or resolved in _places(found):
        return resolved
    raise Refused(REFUSED)


def _places(found: Iterable[FoundModel]) -> set[str]:
    return {str(place) for model in found for place in (model.path, model.path.resolve(), model.path.absolute())}
