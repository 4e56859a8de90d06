"""The notebooks run, show what is committed, and say nothing of the machine that they ran on."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from tools.notebooks import METADATA, NOTEBOOKS, execute

FILES = {file.stem: file for file in sorted(NOTEBOOKS.glob("*.ipynb"))}
OF_A_MACHINE = re.compile(r"(?<![\w.}])/(home|Users|root|tmp|private|var|work|opt|mnt|usr|builds?)/|[A-Z]:\\")
"""An absolute path; what follows `file://` in code is put together when it runs."""
LARGEST = 600_000
"""Bytes of a notebook: what is committed with each change of a picture."""


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: NotebookNode) -> list[str]:
    """The kinds of a cell's outputs: streams by name, and by format what is displayed."""
    return [output.get("name") or "+".join(sorted(output.get("data", {}))) for output in cell.outputs]


def words(notebook: NotebookNode) -> list[str]:
    """Everything in it that is not a picture."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    displayed = [text for o in outputs for kind, text in o.get("data", {}).items() if "image" not in kind]
    said = [output.text for output in outputs if output.output_type == "stream"]
    return [*(cell.source for cell in notebook.cells), *displayed, *said]


@pytest.mark.fast
def test_there_are_notebooks() -> None:
    assert [name[0] for name in FILES] == ["1", "2", "3", "4"]


@pytest.mark.fast
@pytest.mark.parametrize("name", FILES)
def test_the_committed_one_is_executed_from_top_to_bottom(name: str) -> None:
    notebook = nbformat.read(FILES[name], as_version=4)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [kind for cell in cells for kind in shown(cell)]
    assert sum("image/png" in kind for kind in kinds) >= 3
    assert "stderr" not in kinds  # no warning that a reader could not act on
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert FILES[name].stat().st_size < LARGEST


@pytest.mark.fast
@pytest.mark.parametrize("name", FILES)
def test_the_committed_one_tells_neither_paths_nor_times(name: str) -> None:
    notebook = nbformat.read(FILES[name], as_version=4)
    assert not [found for text in words(notebook) if (found := OF_A_MACHINE.search(text))]
    assert notebook.metadata == METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)


@pytest.mark.parametrize("name", FILES)
def test_it_runs_and_shows_what_is_committed(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Numbers and pictures differ between machines, their kinds do not. Nothing is left beside it."""
    before = sorted(NOTEBOOKS.rglob("*"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the notebooks write, and nowhere else
    executed = execute(FILES[name])
    committed = nbformat.read(FILES[name], as_version=4)
    assert [cell.source for cell in executed.cells] == [cell.source for cell in committed.cells]
    assert [shown(cell) for cell in code(executed)] == [shown(cell) for cell in code(committed)]
    assert sorted(NOTEBOOKS.rglob("*")) == before
