"""Measure the start of a command, compared with a minimal Hydra program on the same conf/.

    python benchmarks/startup.py            the median of 15 starts per case, in turns
    python benchmarks/startup.py 40

The minimal program has three lines and does not use its config. Hydra composes twice before it runs a job,
and once for `--cfg job`: both cases are measured.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
BARE = f"""
import hydra
hydra.main(version_base="1.3", config_path={str(ROOT / "conf")!r}, config_name="train")(lambda config: None)()
"""
CASES = {
    "bare Hydra, empty job": ("bare.py", "hydra.run.dir=."),
    "bare Hydra, --cfg job": ("bare.py", "--cfg", "job"),
    "bare Hydra, --help": ("bare.py", "--help"),
    "train.py --help": (str(ROOT / "train.py"), "--help"),
    "train.py --cfg job": (str(ROOT / "train.py"), "--cfg", "job"),
    "train.py loss=dise": (str(ROOT / "train.py"), "loss=dise"),
    "train.py optimizer.lrr=1": (str(ROOT / "train.py"), "optimizer.lrr=1"),
}


def main(rounds: int) -> None:
    """Time every case once per round, so that load on the machine affects all cases equally."""
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bare.py").write_text(BARE)
        for _ in range(rounds):
            for name, command in CASES.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, check=False)
                seconds[name].append(time.perf_counter() - start)
    bare = median(seconds["bare Hydra, --cfg job"])
    print(f"{'':28}  median s   least s   / bare Hydra, --cfg job")
    for name, values in seconds.items():
        print(f"{name:28}  {median(values):8.3f}  {min(values):8.3f}   {median(values) / bare:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
