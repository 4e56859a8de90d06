"""The exception for mistakes of the user, shown without a traceback, and helpers for its message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that could change a terminal: ASCII and Latin-1 controls but tab and newline, and directions."""


def printable(text: str) -> str:
    """The text with escapes in place of control characters, for messages that contain names of others."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class UserError(ValueError):
    """A mistake that the user can correct, described in one message.

    Args:
        what: what is wrong, with the file or the config key.
        found: the current value.
        expected: the values that are allowed.
        fix: how to correct it, as a command or an override if possible.
        every: all affected items, one per line, if the message shows only the first few; a command writes
            them to problems.txt in its output folder.
    """

    status = 1
    """Exit status of a command that ends with this error."""

    def __init__(
        self,
        what: str,
        *,
        found: object = None,
        expected: object = None,
        fix: str | None = None,
        every: Sequence[str] = (),
    ) -> None:
        lines = [what]
        for label, value in (("found", found), ("expected", expected), ("fix", fix)):
            if value is not None:
                lines.append(f"  {label + ':':<9} {value}")
        super().__init__(printable("\n".join(lines)))
        self.every = [printable(line) for line in every]


class UnknownName(UserError):
    """An unknown name, probably a typo; the exit status is that of an unknown key."""

    status = 2


class FolderInUse(UserError):
    """Another process writes to the folder."""

    status = 2


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the known names that are most similar to `name`, the most similar first."""
    return get_close_matches(name, list(known), n=count, cutoff=0.5)


def guess(words: str, name: str, known: Iterable[str]) -> str | None:
    """`words` with "…" replaced by the known name most similar to `name`; None if no name is similar."""
    near = nearest(name, known, 1)
    return words.replace("…", near[0]) if near else None


def some(names: Iterable[object], limit: int = 5, separator: str = ", ") -> str:
    """The first `limit` names, and the number of the remaining ones."""
    texts = [str(name) for name in names]
    rest = len(texts) - limit
    return separator.join(texts[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 image", "2 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
