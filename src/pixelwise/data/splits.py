"""The splits train, val and test: their folders, and random splitting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Literal, TypedDict

from pixelwise import checks
from pixelwise.data.io.listing import left_out, subfolders
from pixelwise.errors import UserError, counted
from pixelwise.kinds import Fraction
from pixelwise.types import Source, Split

SPLITS = ("train", "val", "test")
NAMES = {name: name for name in SPLITS} | dict.fromkeys(("valid", "validation", "dev"), "val")
"""The split that a folder or a list means, by its name."""
RANDOM_VAL_FIX = "data.source.split.val=0.15, with three images or more"
_NEARLY = (*NAMES, "training", "testing")


SplitFolders = Mapping[Literal["train", "val", "test"], str]
"""Names of the folders of the splits, as in `data.source.split_folders`."""


def find_splits(
    folder: Path, others: Sequence[str] = (), folders: SplitFolders | None = None
) -> dict[str, Path]:
    """Return the folders of train, val and test inside a folder, as far as they exist.

    The folder of val may also be called valid, validation or dev.

    Args:
        folder: the folder that contains them; it may be missing.
        others: names of folders that are not splits, such as classes.
        folders: names of the folders by split, if they have others; a split without a name has no folder.

    Raises:
        UserError: a folder has a similar name, such as "Train" or "testing", and would be ignored silently,
            or two folders are the same split.
    """
    if folders:
        return {split: folder / name for split, name in folders.items() if (folder / name).is_dir()}
    found: dict[str, Path] = {}
    names = set(subfolders(folder)) - {*others}
    for name in sorted(names):
        if name not in NAMES and name.lower() in _NEARLY:
            raise UserError(
                f"{folder / name} is not the name of a split",
                expected="train, val (or valid, dev) or test",
                fix="rename it; or data.source.split_folders={train:…,val:…}, for images with masks",
            )
        if split := NAMES.get(name):
            if split in found:
                what = f"{folder} has two folders for the {split} split"
                raise UserError(what, found=f"{found[split].name}, {name}", fix="move one of them elsewhere")
            found[split] = folder / name
    return {split: found[split] for split in SPLITS if split in found}


def note_unused(root: Path, folders: Iterable[Path], unlabelled: Path | None) -> str:
    """Return the end of the description of a source: the images that no split uses.

    Args:
        root: the data set's folder.
        folders: the folders of the splits.
        unlabelled: folder of test images without labels, which are there to predict.
    """
    note = f"; no labels for {unlabelled}: predict.py input={unlabelled}" if unlabelled else ""
    unused = left_out(root, [*folders, *filter(None, [unlabelled])])
    return note + (f"; in no split: {counted(len(unused), 'image')}, such as {unused[0]}" if unused else "")


def get_split(source: Source, name: str) -> Split | None:
    """Return the split "train", "val" or "test" of a source, or None if the source does not have it.

    Raises:
        UserError: a class of the user lacks its base class; and the errors of `Source.split`.
    """
    check_base(source, Source, "data.source")
    split = source.split(name)
    if split is not None:
        check_base(split, Split, f"data.source: the {name} split")
    return split


def missing_split(source: Source, name: str) -> UserError:
    """Return the error for a source without the split "train" or "val", which training needs."""
    return UserError(
        f"data: there is no {name!r} split, or it is empty",
        expected="samples for training, and others to select the best epoch",
        fix=source.fix_missing_val() if name == "val" else None,
    )


def check_base(value: object, base: type[Source | Split], what: str) -> None:
    """Check that a class of the user inherits from `Source` or `Split`.

    Raises:
        UserError: it does not.
    """
    if not isinstance(value, base):
        kind = type(value).__name__
        raise UserError(
            f"{what} is not a {base.__name__}",
            found="null" if value is None else f"an instance of {type(value).__module__}.{kind}",
            expected=f"an instance of a class that inherits from pixelwise.types.{base.__name__}",
            fix=None if value is None else f"class {kind}({base.__name__}); see docs/howto/data.md",
        )


class Shares(TypedDict, total=False):
    """The arguments of a random split, as in `data.source.split`."""

    val: Fraction
    test: Fraction
    seed: int


def random_split(keys: Sequence[str], val: float = 0, test: float = 0, seed: int = 0) -> dict[str, list[str]]:
    """Split keys at random: the same keys and seed give the same splits on every machine.

    Keys are ordered by a hash of (seed, key), so that one more file moves at most a few others. A share above
    0 gives at least one item if there are three or more.

    Args:
        keys: names of the items; call this once per class to keep the class proportions.
        val: share of the validation split.
        test: share of the test split.
        seed: seed of the random order.

    Raises:
        UserError: a share is not a number or is negative, or nothing is left to train on.
    """
    sizes = _sizes(len(keys), val, test, seed)
    order = iter(_shuffled(keys, seed))
    return {name: list(islice(order, sizes[name])) for name in ("val", "test", "train")}


def stratified_split(
    classes: Mapping[str, Collection[int]], val: float = 0, test: float = 0, seed: int = 0
) -> dict[str, list[str]]:
    """Split keys at random, so that each class gets its share of each split; sizes are as in `random_split`.

    This is the iterative stratification of Sechidis et al. 2011, "On the Stratification of Multi-Label Data":
    the keys of the rarest class are assigned first, each to the split that lacks most of that class.

    Args:
        classes: classes of each item, by key.
        val: share of the validation split.
        test: share of the test split.
        seed: seed of the random order.

    Raises:
        UserError: as in `random_split`.
    """
    room = _sizes(len(classes), val, test, seed)
    totals = Counter(label for labels in classes.values() for label in labels)
    missing = {
        label: {name: count * size / len(classes) for name, size in room.items()}
        for label, count in totals.items()
    }
    splits: dict[str, list[str]] = {name: [] for name in room}
    rest = _shuffled(classes, seed)
    while rest:
        counts = Counter(label for key in rest for label in classes[key])
        rarest = min(counts, key=lambda label: (counts[label], label), default=None)
        for key in [key for key in rest if rarest is None or rarest in classes[key]]:
            lack = dict.fromkeys(room, 0.0) if rarest is None else missing[rarest]
            name = max((name for name in room if room[name]), key=lambda name: (lack[name], room[name]))
            splits[name].append(key)
            room[name] -= 1
            for label in classes[key]:
                missing[label][name] -= 1
        rest = [key for key in rest if rarest is not None and rarest not in classes[key]]
    return splits


def _shuffled(keys: Collection[str], seed: int) -> list[str]:
    return sorted(keys, key=lambda key: blake2b(f"{seed}/{key}".encode()).digest())


def _sizes(count: int, val: float, test: float, seed: int) -> dict[str, int]:
    """Check the shares and return the number of items of each split."""
    checks.check("data.source.split", {"val": val, "test": test, "seed": seed}, Shares)
    if val + test >= 1:
        what = "data.source.split leaves nothing to train on"
        raise UserError(
            what, found=f"val={val}, test={test}", expected="shares of at least 0, with a sum below 1"
        )
    at_least = 1 if count >= 3 else 0
    n_val, n_test = (max(round(share * count), at_least if share else 0) for share in (val, test))
    n_val, n_test = min(n_val, count), min(n_test, max(count - n_val, 0))
    return {"train": count - n_val - n_test, "val": n_val, "test": n_test}
