"""The wheel holds conf/ as `pixelwise/conf`. All else stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConf(build_py):
    """Copy conf/ beside the modules; an editable install reads it where it is."""

    def run(self) -> None:
        """Build what setuptools builds, and add the config files."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "pixelwise/conf"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree("conf", target)


setup(cmdclass={"build_py": BuildWithConf})
