"""The lists of groups and options that tools/options.py generates from conf/."""

from __future__ import annotations

import re

import pytest
from tools import options

pytestmark = pytest.mark.fast
NOT_CHOSEN = {"data/source", "hydra/job_logging"}
"""Groups that other options select."""


@pytest.mark.parametrize("file", options.written(), ids=lambda f: f.name)
def test_generated_lists_are_up_to_date(file: options.Path) -> None:
    assert file.read_text() == options.written()[file], "update it: python tools/options.py"


def test_every_group_has_a_row_and_every_option_a_line() -> None:
    folders = {str(f.parent.relative_to(options.CONF)) for f in options.CONF.rglob("*/*.yaml")}
    named = {group.name: set(group.options) for group in options.groups()}
    assert set(named) == folders - NOT_CHOSEN, "describe the group in conf/train.yaml"
    table, page = options.table(), options.page()
    for name, of_group in named.items():
        row = next(line for line in table.splitlines() if f"](conf/{name})" in line)
        listed = set(re.sub(r"[*,]", " ", row.split("|")[2]).split())
        more = f"[…](docs/options.md#{name})"
        assert listed == of_group or (more in listed and listed - {more} < of_group)
        assert all(f"| `{option}` | " in page for option in of_group)
