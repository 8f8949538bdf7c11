"""Tags put on every exchange, and the task the character is busy with."""

from pathlib import Path

import utils.settings
import yaml


def load_tags_tasks():
    utils.settings.all_task_char_list = utils.settings.read_json("TaskList.json")
    utils.settings.all_tag_list = utils.settings.read_json("TagList.json")


def set_task(name):
    settings = utils.settings
    settings.cur_task_char = "None" if name in ("", "None") else f"{settings.char_name}-{name}"


def apply_tags():
    extra = ["Auto-Gaming"] if utils.settings.is_gaming_loop else []
    return [*utils.settings.cur_tags, *extra]


def get_pure_task():
    return utils.settings.cur_task_char.replace(utils.settings.char_name + "-", "")


def get_cur_task_description():
    """Read afresh each time; FileNotFoundError for a task without a profile."""
    return yaml.safe_load(Path(f"Configurables/TaskProfiles/{get_pure_task()}.yaml").read_text())["Description"]
