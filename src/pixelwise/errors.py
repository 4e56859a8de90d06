"""The one exception that is meant for users, shown without a traceback; and words for its messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake that the user can mend, told in one message.

    Args:
        what: what is wrong, naming the file or the config key.
        found: what stands there now.
        expected: what should stand there.
        fix: what to do about it, as a command or an override where one helps.
        every: all that is affected, a line each, where the message names only the first few; a command leaves
            them in a file beside what it writes.
    """

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
        super().__init__("\n".join(lines))
        self.every = every


class UnknownName(UserError):
    """A name that nothing has: a typo, which ends a command with status 2 like one in a key."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` of the known names that look most like `name`, the nearest first."""
    return get_close_matches(name, list(known), n=count, cutoff=0.5)


def guess(words: str, name: str, known: Iterable[str]) -> str | None:
    """Words such as "perhaps …?" with the known name that looks most like `name`; None where none does."""
    near = nearest(name, known, 1)
    return words.replace("…", near[0]) if near else None


def some(names: Iterable[object], limit: int = 5, separator: str = ", ") -> str:
    """The first few names, and how many more there are."""
    texts = [str(name) for name in names]
    rest = len(texts) - limit
    return separator.join(texts[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def counted(count: int, noun: str) -> str:
    """A number of things: "1 image", "2 images"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
