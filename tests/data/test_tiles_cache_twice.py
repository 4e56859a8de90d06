"""Two processes that prepare the same tiles at once; not among the fast tests, as both import everything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.data.test_tiles_cache import folders, root, train

__all__ = ["root"]


def test_two_processes_at_once_share_the_work(root):
    code = (
        "import sys; from tests.data.test_tiles_cache import train; from pathlib import Path;"
        "print(train(Path(sys.argv[1]))[0].image.sum())"
    )
    here = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, env=environment, cwd=here
        )
        for _ in range(2)
    ]
    sums = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sums[0] == sums[1] == f"{train(root)[0].image.sum()}\n".encode()
    assert len(folders(root)) == 1
