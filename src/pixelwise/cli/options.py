"""Which files the groups of conf/ hold: the project's, and those of a conf/ in the current folder."""

from __future__ import annotations

from pathlib import Path

from pixelwise.overrides import CONF


def own_folder() -> Path | None:
    """The user's own conf/ in the current folder, whose files add to the project's or replace them.

    One beside a run's config.yaml is not taken: a run folder may come from anybody, and files of conf/ decide
    which classes are called.
    """
    folder = Path.cwd() / "conf"
    is_own = folder.is_dir() and folder.resolve() != CONF and not Path("config.yaml").exists()
    return folder if is_own else None


def is_group(name: str) -> bool:
    """Whether there is a folder of that name in conf/."""
    return name.replace("/", "").isidentifier() and any((folder / name).is_dir() for folder in _folders())


def groups() -> list[str]:
    """All groups but Hydra's own, nested ones as `data/source`, in alphabetical order."""
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
    """From the least to the most important: of two files with one name the last one counts."""
    return [CONF, *([own] if (own := own_folder()) else [])]
