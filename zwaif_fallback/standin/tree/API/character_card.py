"""The character card, read after the page is up."""

from pathlib import Path

import utils.zw_logging
import yaml

character_card = "No character card loaded!"
visual_character_card = "No character card loaded!"


def load_char_card():
    global character_card, visual_character_card
    character_card = yaml.safe_load(Path("Configurables/CharacterCard.yaml").read_text())["Character Card"]
    visual = Path("Configurables/CharacterCardVisual.yaml")
    if visual.exists():
        visual_character_card = yaml.safe_load(visual.read_text())["Character Card Visual"]
    else:
        utils.zw_logging.update_debug_log("No visual character card found!")
