"""Execute notebooks and keep what they show, but no times, versions or paths of the machine.

    python tools/notebooks.py                       all of notebooks/
    python tools/notebooks.py notebooks/1_*.ipynb   some of them

`jupyter execute --inplace` would do, but for the times that it leaves in every cell. The tests run the same.
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
    """Run one after the other, each written back once it is finished."""
    if any(argument.startswith("-") for argument in arguments):
        print((__doc__ or "").strip())
        return
    for file in [Path(argument) for argument in arguments] or sorted(NOTEBOOKS.glob("*.ipynb")):
        print(file.name, flush=True)
        nbformat.write(execute(file), file)


def execute(file: Path, timeout_s: int = 300) -> nbformat.NotebookNode:
    """Run the cells of a notebook in a fresh kernel of this environment, from the notebook's own folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(file, as_version=4)
    # tqdm misses the widgets for progress bars that no notebook here shows
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
