"""The notebooks run, show the committed outputs and contain no paths of a machine."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from tools.notebooks import METADATA, NOTEBOOKS, execute

FILES = {file.stem: file for file in sorted(NOTEBOOKS.glob("*.ipynb"))}
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.}])/(home|Users|root|tmp|private|var|work|opt|mnt|usr|builds?)/|[A-Z]:\\"
)
"""An absolute path, except after `file://`, where code inserts it at run time."""
LARGEST = 600_000
"""Maximum size of a notebook in bytes; each change of a figure adds as much to the repository."""


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: NotebookNode) -> list[str]:
    """The kinds of a cell's outputs: the names of streams, the formats of displayed objects."""
    return [output.get("name") or "+".join(sorted(output.get("data", {}))) for output in cell.outputs]


def words(notebook: NotebookNode) -> list[str]:
    """All text of a notebook: sources, displayed text and streams."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    displayed = [text for o in outputs for kind, text in o.get("data", {}).items() if "image" not in kind]
    streams = [output.text for output in outputs if output.output_type == "stream"]
    return [*(cell.source for cell in notebook.cells), *displayed, *streams]


@pytest.mark.fast
def test_four_notebooks_exist() -> None:
    assert [name[0] for name in FILES] == ["1", "2", "3", "4"]


@pytest.mark.fast
@pytest.mark.parametrize("name", FILES)
def test_the_notebook_is_executed_from_top_to_bottom(name: str) -> None:
    notebook = nbformat.read(FILES[name], as_version=4)
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [kind for cell in cells for kind in shown(cell)]
    assert sum("image/png" in kind for kind in kinds) >= 3
    assert "stderr" not in kinds  # no warnings
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert FILES[name].stat().st_size < LARGEST


@pytest.mark.fast
@pytest.mark.parametrize("name", FILES)
def test_the_notebook_contains_no_paths_and_no_times(name: str) -> None:
    notebook = nbformat.read(FILES[name], as_version=4)
    assert not [found for text in words(notebook) if (found := ABSOLUTE_PATH.search(text))]
    assert notebook.metadata == METADATA
    assert all(cell.metadata == {} for cell in notebook.cells)


@pytest.mark.parametrize("name", FILES)
def test_the_notebook_reproduces_its_committed_outputs(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Numbers and figures may differ between machines, kinds of outputs may not. No files are left."""
    before = sorted(NOTEBOOKS.rglob("*"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # the only folder that the notebooks write to
    executed = execute(FILES[name])
    committed = nbformat.read(FILES[name], as_version=4)
    assert [cell.source for cell in executed.cells] == [cell.source for cell in committed.cells]
    assert [shown(cell) for cell in code(executed)] == [shown(cell) for cell in code(committed)]
    assert sorted(NOTEBOOKS.rglob("*")) == before
