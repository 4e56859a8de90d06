"""The groups and options in the project's conf/ and in a conf/ of the current folder."""

from __future__ import annotations

from pathlib import Path

from pixelwise.overrides import conf_folders


def is_group(name: str) -> bool:
    """Whether conf/ contains a folder of this name."""
    return name.replace("/", "").isidentifier() and any((folder / name).is_dir() for folder in conf_folders())


def groups() -> list[str]:
    """All groups except Hydra's own, in alphabetical order; nested groups as `data/source`."""
    found = {
        str(path.relative_to(folder))
        for folder in conf_folders()
        for path in folder.rglob("*")
        if path.is_dir() and next(path.glob("*.yaml"), None)
    }
    return sorted(group for group in found if group.split("/")[0] != "hydra")


def options(group: str) -> dict[str, Path]:
    """The file of each option of a group, by its name in alphabetical order."""
    found = {file.stem: file for folder in conf_folders() for file in (folder / group).glob("*.yaml")}
    return dict(sorted(found.items()))
