"""The lists of groups and options that are written from conf/."""

from __future__ import annotations

import re

import pytest
from tools import options

pytestmark = pytest.mark.fast
NOT_CHOSEN = {"data/source", "hydra/job_logging"}
"""Folders of conf/ that follow from other choices."""


@pytest.mark.parametrize("file", options.written(), ids=lambda f: f.name)
def test_it_is_what_conf_says(file: options.Path) -> None:
    assert file.read_text() == options.written()[file], "to renew it: python tools/options.py"


def test_every_group_has_a_row_and_every_option_a_line() -> None:
    folders = {str(f.parent.relative_to(options.CONF)) for f in options.CONF.rglob("*/*.yaml")}
    named = {group.name: set(group.options) for group in options.groups()}
    assert set(named) == folders - NOT_CHOSEN, "say in conf/train.yaml what the group is for"
    table, page = options.table(), options.page()
    for name, of_group in named.items():
        row = next(line for line in table.splitlines() if f"](conf/{name})" in line)
        assert set(re.sub(r"[*,]", " ", row.split("|")[2]).split()) == of_group
        assert all(f"| `{option}` | " in page for option in of_group)
