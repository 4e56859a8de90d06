"""Write the table of options in README.md, and docs/options.md, from the comments in conf/.

    python tools/options.py

The purpose of a group is the comment at its line in conf/train.yaml; the purpose of an option is the first
line of its file.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
MANY, LISTED = 10, 7
"""README.md lists a group of more than `MANY` options with the first `LISTED` ones."""
BEGIN, END = "<!-- options:begin, written by tools/options.py -->", "<!-- options:end -->"


class Group(NamedTuple):
    """A folder of conf/ with its default option."""

    name: str
    default: str
    purpose: str

    @property
    def options(self) -> dict[str, str]:
        """Option → purpose, the default option first."""
        files = {file.stem: file for file in sorted((CONF / self.name).glob("*.yaml"))}
        names = sorted(files, key=lambda name: name != self.default)
        return {name: purpose(files[name]) for name in names}


def purpose(file: Path) -> str:
    """Return the first comment of an option, without `# @package`."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    return lines[0].removeprefix("# ")


def groups() -> list[Group]:
    """Return the groups: the task first, then in the order of conf/train.yaml."""
    line = re.compile(r"  - (?:override )?([\w/]+): (\w+) +# (.+)")
    matches = [Group(*match.groups()) for match in map(line.match, _defaults()) if match]
    return sorted(matches, key=lambda group: group.name != "task")


def _defaults() -> list[str]:
    return (CONF / "train.yaml").read_text().partition("defaults:\n")[2].partition("\n\n")[0].splitlines()


def table() -> str:
    """Return the table for README.md, with a row for each group."""
    rows = ["| group | options (the default first) | purpose |", "|---|---|---|"]
    for group in groups():
        options = [f"**{name}**" if name == group.default else name for name in group.options]
        if len(options) > MANY:
            options = [*options[:LISTED], f"[…](docs/options.md#{group.name})"]
        purpose = group.purpose.partition(";")[0]
        rows.append(f"| [`{group.name}`](conf/{group.name}) | {', '.join(options)} | {purpose} |")
    return "\n".join(rows)


def page() -> str:
    """Return docs/options.md, with a section for each group and a row for each option."""
    parts = [
        "# Groups and options",
        "`GROUP=OPTION` on the command line selects the file `conf/GROUP/OPTION.yaml`. Single values are\n"
        "set by their key, as in `optimizer.lr=3e-4`. `python tools/options.py` writes this page.",
    ]
    for group in groups():
        default = "" if group.default == "null" else f" Default: `{group.default}`."
        title = group.purpose[0].upper() + group.purpose[1:]
        rows = ["| option | for |", "|---|---|"]
        rows += [f"| `{name}` | {text} |" for name, text in group.options.items()]
        parts += [f"## {group.name}", f"{title}.{default}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def written() -> dict[Path, str]:
    """Return the path and the new text of both files."""
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
