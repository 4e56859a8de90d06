"""`train.py` that records every training batch and kills itself with SIGKILL at a given place.

    python drill.py OVERRIDES…      with DRILL='{"step": 5, "where": "batch_end"}' in the environment

This is not a test: tests start it as a separate process, see tests/drills.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

ORDERS = json.loads(os.environ.get("DRILL", "{}"))
ROOT = Path(__file__).parents[1]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sabotage() -> None:
    """Install the recording and the kills before train.py builds its trainer."""
    import lightning as L
    import torch

    from pixelwise.errors import UserError
    from pixelwise.training.callbacks import position

    class Drill(L.Callback):
        def __init__(self) -> None:
            self.batch = -1

        def due(self, trainer: L.Trainer, where: str) -> bool:
            job = Path(trainer.default_root_dir).name
            here = ORDERS.get("where") == where and ORDERS.get("job", job) == job
            return here and trainer.global_step == ORDERS["step"]

        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
            note = {"step": trainer.global_step, "epoch": trainer.current_epoch, "batch": batch_idx}
            note |= {"phase": module.phase, "keys": batch["key"], "pid": os.getpid()}
            note["job"] = Path(trainer.default_root_dir).name
            note["encoder"] = float(sum(p.double().sum() for p in module.model.encoder.parameters()))
            with (Path.cwd() / f"trace_{trainer.global_rank}.jsonl").open("a") as stream:
                stream.write(json.dumps(note) + "\n")
            if note["job"] == ORDERS.get("failing_job"):
                raise RuntimeError("made to fail")
            if trainer.global_rank == ORDERS.get("failing_rank") and trainer.global_step == ORDERS["step"]:
                raise {"UserError": UserError, "RuntimeError": RuntimeError}[ORDERS["error"]]("made to fail")
            if self.due(trainer, "batch_start"):
                die()

        def on_after_backward(self, trainer: L.Trainer, module: Any) -> None:
            if self.due(trainer, "backward"):
                die()

        def on_train_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
            if self.due(trainer, "batch_end"):
                die()

        def on_validation_batch_end(self, trainer: L.Trainer, *rest: Any) -> None:
            if self.due(trainer, "validation"):
                die()

        def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
            if self.due(trainer, "train_end"):
                die()

        def on_test_start(self, trainer: L.Trainer, module: Any) -> None:
            if self.due(trainer, "test"):
                die()

    building = importlib.import_module("pixelwise.build.run")
    original = building.training_loop

    def trainer(*arguments: Any, **settings: Any) -> L.Trainer:
        result = original(*arguments, **settings)
        result.callbacks.insert(-1, Drill())  # type: ignore[attr-defined]
        return result

    building.training_loop = trainer
    save = torch.save

    def half(content: dict[str, Any], stream: Any) -> None:
        """Write half of a checkpoint, then die."""
        if content["global_step"] == ORDERS["step"] and "optimizer_states" in content:
            buffer = io.BytesIO()
            save(content, buffer)
            stream.write(buffer.getvalue()[: len(buffer.getvalue()) // 2])
            stream.flush()
            die()
        save(content, stream)

    if ORDERS.get("where") == "writing":
        torch.save = half
    if ORDERS.get("where") == "renaming":
        replace = Path.replace

        def between(self: Path, target: Path) -> Path:
            if (
                self.name == "fresh.ckpt"
                and torch.load(self, weights_only=True)["global_step"] == ORDERS["step"]
            ):
                die()
            return replace(self, target)

        Path.replace = between  # type: ignore[assignment,method-assign]
    if ORDERS.get("forget_rng"):
        position.reseed = lambda *numbers: None


if __name__ == "__main__":
    sabotage()
    spec = importlib.util.spec_from_file_location("train", ROOT / "train.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    module.main()  # sys.argv[0] stays this file, which the processes that Lightning starts also run
