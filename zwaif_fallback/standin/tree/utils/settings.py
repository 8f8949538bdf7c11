"""The live settings: plain module names that everybody reads and the page writes."""

import json
from pathlib import Path

char_name = ""
hotkeys_locked = False
speak_shadowchats = False
speak_only_spokento = False
max_tokens = 300
stream_chats = True
newline_cut = False
asterisk_ban = False
supress_rp = False
stopping_strings = ["[System", "\nUser:"]
removal_quotes_from_hist = False
semi_auto_chat = False
hangout_mode = False
use_chatpops = True
chatpop_phrases = []
model_preset = "Default"
cam_direct_talk = True
all_tag_list = []
cur_tags = []
all_task_char_list = []
cur_task_char = "None"
is_gaming_loop = False
minecraft_enabled = False
gaming_enabled = False
alarm_enabled = False
vtube_enabled = False
discord_enabled = False
rag_enabled = False
vision_enabled = False


def read_json(name):
    return json.loads((Path("Configurables") / name).read_text())
