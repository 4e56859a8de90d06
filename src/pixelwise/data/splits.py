"""How a folder is parted into train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from pixelwise import checks
from pixelwise.data.io.listing import subfolders
from pixelwise.errors import UserError
from pixelwise.types import Source, Split

SPLITS = ("train", "val", "test")
_NEARLY = ("training", "valid", "validation", "dev", "testing")


def split_folders(folder: Path, others: Sequence[str] = ()) -> dict[str, Path]:
    """The folders train, val and test inside another, as far as they are there.

    Args:
        folder: looked through; it may be missing.
        others: names that mean something else here, such as classes.

    Raises:
        UserError: a folder such as "valid" or "Train" would be left out without a word.
    """
    for name in set(subfolders(folder)) - {*SPLITS, *others}:
        if name.lower() in (*SPLITS, *_NEARLY):
            raise UserError(f"{folder / name} has a name that is not read", expected="train, val or test")
    return {name: folder / name for name in SPLITS if (folder / name).is_dir()}


def split_of(source: Source, name: str) -> Split | None:
    """The split "train", "val" or "test" of a source, or None where it has no such split.

    Raises:
        UserError: a class of the user's own lacks its base class; or as the source says.
    """
    check_base(source, Source, "data.source")
    split = source.split(name)
    if split is not None:
        check_base(split, Split, f"data.source: the {name} split")
    return split


def check_base(found: object, base: type[Source | Split], what: str) -> None:
    """Refuse a class of the user's own that does not inherit from `Source` or `Split`.

    Raises:
        UserError: it does not.
    """
    if not isinstance(found, base):
        kind = type(found).__name__
        raise UserError(
            f"{what} is no {base.__name__}",
            found="null" if found is None else f"an instance of {type(found).__module__}.{kind}",
            expected=f"an instance of a class that inherits from pixelwise.types.{base.__name__}",
            fix=None if found is None else f"class {kind}({base.__name__}); see docs/howto/data.md",
        )


def deal(keys: Sequence[str], val: float = 0, test: float = 0, seed: int = 0) -> dict[str, list[str]]:
    """Deal keys into splits at random: the same keys and seed give the same splits on every machine.

    Keys are ordered by a hash of (seed, key), so that one more file moves at most a few others. A share above
    0 gives at least one item when there are three or more.

    Args:
        keys: what to deal; call once per class to keep the classes' shares.
        val: share of the validation split.
        test: share of the test split.
        seed: of the draw.

    Raises:
        UserError: a share is no number or negative, or nothing is left to train on.
    """
    for name, share in (("val", val), ("test", test)):
        checks.number(f"data.source.split.{name}", share, 0, below=1)
    checks.whole("data.source.split.seed", seed)
    if val + test >= 1:
        what = "data.source.split leaves nothing to train on"
        raise UserError(what, found=f"val={val}, test={test}", expected="shares from 0, together below 1")
    order = sorted(keys, key=lambda key: blake2b(f"{seed}/{key}".encode()).digest())
    at_least = 1 if len(keys) >= 3 else 0
    n_val, n_test = (max(round(share * len(keys)), at_least if share else 0) for share in (val, test))
    return {"val": order[:n_val], "test": order[n_val : n_val + n_test], "train": order[n_val + n_test :]}
