"""What setup.cfg cannot say: packages in two folders, and two start-up files beside them. All metadata is in setup.cfg.

A wheel has no declarative way to put a file beside the packages that also works for an editable install, so the
build step that copies the Python modules copies these two along with them.
"""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

STARTUP_FILES = ("zwaif_hooks.pth", "zwaif_hooks.start")


class BuildWithStartupFiles(build_py):
    def run(self):
        super().run()
        target = self.build_lib
        if self.editable_mode:
            target = self.get_finalized_command("install").install_lib
        for name in STARTUP_FILES:
            self.copy_file(name, str(Path(target) / name))

    def get_source_files(self):
        return [*super().get_source_files(), *STARTUP_FILES]


setup(
    packages=[*find_packages(include=["zwaif_fallback*"]), *find_packages("hooks")],
    package_dir={"zwaif_hooks": "hooks/zwaif_hooks"},
    cmdclass={"build_py": BuildWithStartupFiles},
)
