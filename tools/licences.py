"""List all dependencies of pixelwise with their versions and licences: `make licences`."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def dependencies(package: str, extras: frozenset[str] = frozenset()) -> dict[str, Distribution]:
    """The installed distributions that a package with these extras needs, directly or not, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(package, extras)]
    while waiting:
        name, chosen = waiting.pop()
        if (name, chosen) in seen:
            continue
        seen.add((name, chosen))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another platform, or of an extra that is not installed
            continue
        for line in found[name].requires or ():
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in chosen | {""}):
                waiting.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """The licence of a distribution: its SPDX expression, its classifiers, or the first line of its text."""
    metadata: Any = package.metadata
    classifiers = [line.split(" :: ") for line in metadata.get_all("Classifier") or ()]
    named = [parts[-1] for parts in classifiers if parts[0] == "License" and parts[-1] != "OSI Approved"]
    text = (metadata.get("License") or "").strip().splitlines()
    return metadata.get("License-Expression") or ", ".join(named) or (text[0] if text else "not stated")


def main() -> None:
    """Print a line for each dependency."""
    for name, found in dependencies("pixelwise", frozenset({"dev"})).items():
        print(f"{name:<40} {found.version:<16} {licence(found)[:60]}")


if __name__ == "__main__":
    main()
