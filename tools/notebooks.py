"""Execute notebooks and save their outputs, without times, versions or paths of this machine.

    python tools/notebooks.py                       all of notebooks/
    python tools/notebooks.py notebooks/1_*.ipynb   some of them

`jupyter execute --inplace` would add times to every cell. The tests call the same function.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main(arguments: list[str]) -> None:
    """Run the notebooks one by one; each file is written when its notebook has finished."""
    if any(argument.startswith("-") for argument in arguments):
        print((__doc__ or "").strip())
        return
    for file in [Path(argument) for argument in arguments] or sorted(NOTEBOOKS.glob("*.ipynb")):
        print(file.name, flush=True)
        nbformat.write(execute(file), file)


def execute(file: Path, timeout_s: int = 300) -> nbformat.NotebookNode:
    """Run the cells of a notebook in a new kernel of this environment, in the notebook's folder.

    Args:
        file: the notebook.
        timeout_s: longest time for one cell, in seconds.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(file, as_version=4)
    # tqdm warns about missing widgets, but no notebook here shows a progress bar
    environment = {**os.environ, "PYTHONWARNINGS": "ignore:IProgress not found"}
    NotebookClient(
        notebook,
        timeout=timeout_s,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(file.parent)}},
    ).execute(env=environment)
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


if __name__ == "__main__":
    main(sys.argv[1:])
