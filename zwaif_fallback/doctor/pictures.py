"""Check of the model that describes pictures, if one is set."""

from __future__ import annotations

from zwaif_fallback.choosing.resolve_name import places
from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.pictures import captioner
from zwaif_fallback.pictures.vision_engine import check_pillow


def check_pictures(here: Situation) -> Finding:
    model = here.text("API_FALLBACK_VISION_MODEL")
    if not model:
        return skipped("API_FALLBACK_VISION_MODEL is empty: the companion says that it cannot see pictures")
    try:
        check_pillow()
        captioner.find(model, places(model, here.tree, here.text("FALLBACK_MODEL_DIR")))
    except FallbackError as error:
        text, _, remedy = str(error).partition(". ")
        return Finding("warning", f"{text}.", "The companion says that it cannot see pictures.", remedy)
    return ok(f"{model} is on this computer, with all its files")
