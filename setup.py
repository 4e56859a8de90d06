"""Adds conf/ to the wheel as `pixelwise/conf`. All other settings are in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Copy conf/ into the package; an editable install reads it from the clone."""

    def run(self) -> None:
        """Build the modules and add the config files."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "pixelwise/conf"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("conf", target)


setup(cmdclass={"build_py": BuildWithConf})
