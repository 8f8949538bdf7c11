"""Task profiles: name and description of each."""

from pathlib import Path

import yaml

task_profiles = []


def load_task_profiles():
    for path in sorted(Path("Configurables/TaskProfiles").glob("*.yaml")):
        profile = yaml.safe_load(path.read_text())
        task_profiles.append([profile["Task"], profile["Description"]])
