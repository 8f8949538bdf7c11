"""Which models the page may name.

Whoever reaches the page reaches its functions too: Gradio's are open to any program that can connect. So a name from
there is a model that was found on this computer, one on the Hugging Face hub, or a place inside the folders of
``FALLBACK_MODEL_DIR``; any other place has to be written into ``.env``, by somebody who may write there. What looks
like a path is judged by its letters before the disk is touched: on Windows a look at ``\\\\server\\share`` is a login.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zwaif_fallback import catalogue, model_files
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.ui.changes import LONGEST_INPUT

if TYPE_CHECKING:
    from zwaif_fallback.models.found import FoundModel

ASK = "Type the model's Hugging Face name (owner/model), or pick one of the list, then press Load Model."
OUTSIDE = (
    "Only models in the list and those in the folders of FALLBACK_MODEL_DIR can be chosen on this page. For any other "
    "place, write API_FALLBACK_MODEL into Z-Waif's .env."
)


class Refused(ModelNotFound):
    """``str(error)`` is one line for the status box."""


def resolve(name: str, found: Iterable[FoundModel], tree: Path, model_dir: str, chosen: str) -> str:
    """What to load for a name from the page: an absolute path, or a name on the hub.

    Args:
        chosen: the model of the settings, which may be anywhere: its owner wrote it into ``.env``.

    Raises:
        ModelNotFound: it may not be named here, or is none; the text says what to write instead.
    """
    from zwaif_fallback.models.places import own_folders  # late, as in model_files

    if not name or name == catalogue.CUSTOM or len(name) > LONGEST_INPUT or not name.isprintable():
        raise Refused(ASK)
    roots = [Path(os.path.normpath(folder.absolute())) for folder in own_folders(model_dir, tree)]
    known = {str(model.path) for model in found} | {str(model.path.resolve()) for model in found}
    is_listed = name == chosen or name in known or any(name == model.setting for model in found)
    if not is_listed and model_files.looks_like_path(name) and not _is_inside(_lexical(name, tree), roots):
        raise Refused(OUTSIDE)
    resolved = model_files.resolve(name, tree, model_dir)
    place = Path(resolved)
    real = [root.resolve() for root in roots]
    if is_listed or not place.is_absolute() or resolved in known or _is_inside(place.resolve(), real):
        return resolved
    # The readable names (ollama:…, owner/name:file) lead to files that others brought; a plain one must not.
    if ":" in name and not model_files.looks_like_path(name):
        return resolved
    raise Refused(OUTSIDE)


def _lexical(name: str, tree: Path) -> Path:
    text = name.strip().strip("\"'").strip()
    return Path(os.path.normpath(tree.absolute() / text))


def _is_inside(place: Path, roots: Iterable[Path]) -> bool:
    return any(place == root or root in place.parents for root in roots)
