"""Lore about the things that are being talked about."""

import utils.settings

total_lore_default = "Facts from your lorebook about what is being talked about:\n\n"
LORE_BOOK = utils.settings.read_json("Lorebook.json")


def lorebook_gather(messages, sent_message):
    """``total_lore_default`` where nothing fits."""
    text = " ".join([sent_message, *(part for entry in messages for part in entry[:2])]).lower()
    found = [f"{lore['0']}, {lore['1']}\n\n" for lore in LORE_BOOK if lore["0"].lower() in text]
    return total_lore_default + "".join(found)
