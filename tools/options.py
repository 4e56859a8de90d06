"""Write down what can be chosen, from conf/ itself: a table in README.md, and docs/options.md.

    python tools/options.py

What a group is for stands behind its line in conf/train.yaml; what an option is for is the first line of
its file.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
BEGIN, END = "<!-- options:begin, written by tools/options.py -->", "<!-- options:end -->"


class Group(NamedTuple):
    """A folder of conf/ and what is chosen in it when nothing is said."""

    name: str
    default: str
    purpose: str

    @property
    def options(self) -> dict[str, str]:
        """What each file is for, the default first."""
        files = {file.stem: file for file in sorted((CONF / self.name).glob("*.yaml"))}
        names = sorted(files, key=lambda name: name != self.default)
        return {name: purpose(files[name]) for name in names}


def purpose(file: Path) -> str:
    """The first comment of an option, but for `# @package`."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    return lines[0].removeprefix("# ")


def groups() -> list[Group]:
    """In the order of what is typed most: the task, then as in conf/train.yaml."""
    line = re.compile(r"  - (?:override )?([\w/]+): (\w+) +# (.+)")
    found = [Group(*match.groups()) for match in map(line.match, _defaults()) if match]
    return sorted(found, key=lambda group: group.name != "task")


def _defaults() -> list[str]:
    return (CONF / "train.yaml").read_text().partition("defaults:\n")[2].partition("\n\n")[0].splitlines()


def table() -> str:
    """A row for each group."""
    rows = ["| group | options, the default first | what it decides |", "|---|---|---|"]
    for group in groups():
        options = [f"**{name}**" if name == group.default else name for name in group.options]
        rows.append(f"| [`{group.name}`](conf/{group.name}) | {', '.join(options)} | {group.purpose} |")
    return "\n".join(rows)


def page() -> str:
    """A section for each group, with a row for each of its options."""
    parts = [
        "# Groups and options",
        "`GROUP=OPTION` on the command line takes the file `conf/GROUP/OPTION.yaml`; single values inside\n"
        "are overridden by key, as in `optimizer.lr=3e-4`. `python tools/options.py` writes this page.",
    ]
    for group in groups():
        default = "" if group.default == "null" else f" Default: `{group.default}`."
        what = group.purpose[0].upper() + group.purpose[1:]
        rows = ["| option | for |", "|---|---|"]
        rows += [f"| `{name}` | {what_for} |" for name, what_for in group.options.items()]
        parts += [f"## {group.name}", f"{what}.{default}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def written() -> dict[Path, str]:
    """What each of the two files should hold."""
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        readme: f"{before}{BEGIN}\n{table()}\n{END}{after}",
        ROOT / "docs/options.md": page(),
    }


if __name__ == "__main__":
    for file, text in written().items():
        file.write_text(text)
