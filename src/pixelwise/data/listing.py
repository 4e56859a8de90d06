"""Which files a folder of images holds, and how they are dealt into train, val and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

from pixelwise.data.images import SUFFIXES, Header, UnreadableImage, read_header
from pixelwise.errors import UserError, nearest

SPLITS = ("train", "val", "test")
_MISNAMED = {"valid": "val", "validation": "val", "dev": "val", "training": "train", "testing": "test"}
_NO_DEAL: dict[str, float] = {"val": 0.0, "test": 0.0, "seed": 0}


def some(names: Iterable[object], limit: int = 5, separator: str = ", ") -> str:
    """The first few names, and how many more there are."""
    texts = [str(name) for name in names]
    rest = len(texts) - limit
    return separator.join(texts[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def counted(count: int, noun: str) -> str:
    """A number of things: "1 image", "2 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def existing_root(root: str | Path) -> Path:
    """The data set's folder as a path.

    Raises:
        UserError: it does not exist, is no folder, or is empty.
    """
    path = Path(root).expanduser()
    if not path.is_dir():
        siblings = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        near = [str(path.parent / name) for name in nearest(path.name, siblings)]
        raise UserError(
            f"data.root={root} is {'no folder' if path.exists() else 'not there'}",
            expected="the folder that holds your images",
            fix=f"perhaps data.root={near[0]}" if near else None,
        )
    if not any(path.iterdir()):
        raise UserError(f"data.root={root} is empty", expected="the folder that holds your images")
    return path


def subfolders(folder: Path) -> list[str]:
    """Sorted names of the folders directly inside, hidden ones left out; none of a missing folder."""
    if not folder.is_dir():
        return []
    return sorted(item.name for item in folder.iterdir() if item.is_dir() and not _hidden(item.name))


def refuse_misnamed_splits(folder: Path, allowed: Sequence[str] = ()) -> None:
    """Stop at a folder such as "valid" or "Train", which would be left out without a word.

    Args:
        folder: the folder whose subfolders are looked at.
        allowed: names that mean something else here, such as classes.

    Raises:
        UserError: a subfolder has a name that others use for train, val or test.
    """
    for name in subfolders(folder):
        right = _MISNAMED.get(name.lower(), name.lower())
        if right in SPLITS and name != right and name not in allowed:
            raise UserError(
                f"{folder / name} has a name that is not read",
                expected=", ".join(SPLITS),
                fix=f"rename it to {right}",
            )


def find_images(folder: Path, suffix: str = "") -> dict[str, Path]:
    """Every image below a folder by its key: the path below the folder without its ending.

    Args:
        folder: searched with its subfolders; hidden files and files that are no images are passed over.
        suffix: end of the name before the dot, such as "_mask", that is no part of the key; files without it
            are passed over.

    Raises:
        UserError: the folder is missing or holds no image, or two files have one key.
    """
    if not folder.is_dir():
        beside = subfolders(folder.parent)
        raise UserError(
            f"the folder {folder} is missing",
            found=f"beside it {some(beside)}" if beside else None,
            expected="a folder of images",
        )
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path.name)]
    found: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() not in SUFFIXES or not path.stem.endswith(suffix):
            continue
        key = path.relative_to(folder).with_suffix("").as_posix().removesuffix(suffix)
        if key in found:
            raise UserError(
                f"{found[key]} and {path.name} share the key {key!r}",
                expected="one image per name, whatever its ending",
                fix="rename or remove one of them",
            )
        found[key] = path
    if not found:
        endings = Counter(path.suffix or path.name for path in files)
        raise UserError(
            f"{folder} holds no image" + (f" whose name ends in {suffix!r}" if suffix else ""),
            found=some(f"{count} × {ending}" for ending, count in endings.most_common()) or "no files",
            expected=" ".join(sorted(SUFFIXES)),
        )
    return found


def deal(keys: Sequence[str], split: Mapping[str, float] | None) -> dict[str, list[str]]:
    """Deal keys into splits at random: the same keys and seed give the same splits on every machine.

    Keys are ordered by a hash of (seed, key), so that one more file moves at most a few others. A share above
    0 gives at least one item when there are three or more.

    Args:
        keys: what to deal; call once per class to keep the classes' shares.
        split: shares of "val" and "test", and the "seed" of the draw.

    Raises:
        UserError: a share is negative, or nothing is left to train on.
    """
    split = _NO_DEAL | dict(split or {})
    if extra := set(split) - set(_NO_DEAL):
        raise UserError(f"source.split does not know {some(sorted(extra))}", expected="val, test, seed")
    if min(split["val"], split["test"]) < 0 or split["val"] + split["test"] >= 1:
        raise UserError(
            "source.split leaves nothing to train on",
            found=f"val={split['val']}, test={split['test']}",
            expected="shares from 0 to 1, together below 1",
        )
    order = sorted(keys, key=lambda key: blake2b(f"{int(split['seed'])}/{key}".encode()).digest())
    dealt: dict[str, list[str]] = {}
    for name in ("val", "test"):
        share = split[name]
        count = max(round(share * len(keys)), 1 if share > 0 and len(keys) >= 3 else 0)
        dealt[name], order = order[:count], order[count:]
    return {name: sorted(chosen) for name, chosen in {"train": order, **dealt}.items()}


def describe_deal(split: Mapping[str, float] | None) -> str:
    """The shares and the seed as text."""
    return ", ".join(f"{name}={value}" for name, value in (_NO_DEAL | dict(split or {})).items())


def read_headers(paths: Sequence[Path]) -> list[Header]:
    """Headers of many files at once; threads hide the latency of a network disk.

    Raises:
        UserError: files are unreadable; the first few are named.
    """
    damaged: list[Path] = []

    def attempt(path: Path) -> Header | None:
        try:
            return read_header(path)
        except UnreadableImage:
            damaged.append(path)
            return None

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, paths))
    if damaged:
        raise UserError(
            f"{len(damaged):,} of {len(paths):,} files cannot be read as images",
            found=some(sorted(damaged)),
            fix="restore them from their origin, or move them (and their masks) out of the data set",
        )
    return [result for result in results if result is not None]


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
