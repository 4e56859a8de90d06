"""The groups and options in the project's conf/ and in a conf/ of the current folder."""

from __future__ import annotations

from pathlib import Path

from pixelwise.overrides import CONF


def own_folder() -> Path | None:
    """The user's own conf/ in the current folder, or None; its files extend or replace the project's files.

    A conf/ beside the config.yaml of a run is not used: the run folder may come from an untrusted source, and
    the files of conf/ decide which classes are called.
    """
    folder = Path.cwd() / "conf"
    is_own = folder.is_dir() and folder.resolve() != CONF and not Path("config.yaml").exists()
    return folder if is_own else None


def is_group(name: str) -> bool:
    """Whether conf/ contains a folder of this name."""
    return name.replace("/", "").isidentifier() and any((folder / name).is_dir() for folder in _folders())


def groups() -> list[str]:
    """All groups except Hydra's own, in alphabetical order; nested groups as `data/source`."""
    found = {
        str(path.relative_to(folder))
        for folder in _folders()
        for path in folder.rglob("*")
        if path.is_dir() and next(path.glob("*.yaml"), None)
    }
    return sorted(group for group in found if group.split("/")[0] != "hydra")


def options(group: str) -> dict[str, Path]:
    """The file of each option of a group, by its name in alphabetical order."""
    found = {file.stem: file for folder in _folders() for file in (folder / group).glob("*.yaml")}
    return dict(sorted(found.items()))


def _folders() -> list[Path]:
    """The folders in increasing priority: of two files with the same name, the last one is used."""
    return [CONF, *([own] if (own := own_folder()) else [])]
