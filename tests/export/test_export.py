"""Exports of a trained run: graphs, `pixelwise.load`, and errors."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from tests.export.test_hub import sample
from tests.helpers import Script, refused

import pixelwise
from pixelwise import build, runs
from pixelwise.build.restore import Predictor
from pixelwise.data.io.images import read_image
from pixelwise.export import Onnx, Program, Subject, compare, export, subject
from pixelwise.export.format import Format
from pixelwise.runs import checkpoints


def other_sizes(image: torch.Tensor) -> list[torch.Tensor]:
    """Batches of sizes that no export was traced or compared with."""
    return [image[..., :41, :67], torch.cat([image, image, image])[..., :64, :80], image.repeat(1, 1, 2, 3)]


# ------------------------------------------------------------------------------------------- graphs
@pytest.mark.parametrize("form", [Onnx(opset=20), Program()], ids=["onnx", "pt2"])
def test_a_graph_equals_the_model_at_any_size(
    form: Format, model: Predictor, image: torch.Tensor, tmp_path: Path
) -> None:
    agreement = export(Subject(model, image, {}), form, tmp_path / "out")
    assert agreement.shapes == ((1, 3, 96, 96), (2, 3, 71, 71))
    assert agreement.share == 1
    other = compare(model, form.open(tmp_path / "out"), other_sizes(image))
    assert other.difference < 1e-4
    assert other.share > 0.999


def test_onnx_describes_its_input_and_output(model: Predictor, image: torch.Tensor, tmp_path: Path) -> None:
    import onnx

    Onnx(opset=20).write(Subject(model, image, {}), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    graph = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    (image_input,), (output,) = graph.graph.input, graph.graph.output
    names = [dim.dim_param or dim.dim_value for dim in image_input.type.tensor_type.shape.dim]
    assert (image_input.name, names) == ("image", ["batch", 3, "height", "width"])
    assert image_input.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert output.name == "logits"
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    assert json.loads(facts["classes"]) == list(model.classes)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "pt2", "hub"])
def test_the_command_writes_files_and_prints_the_difference(
    format: str, trained: Path, script: Script, tmp_path: Path
) -> None:
    done = script("export.py", f"run={trained}", f"format={format}", "output=out")
    assert done.returncode == 0, done.stderr
    assert "largest logit difference" in done.stdout
    assert "the same class on 100.0000% of 1×3×" in done.stdout
    pixels, logits = sample(tmp_path / "out")
    assert torch.equal(pixelwise.load(trained)(pixels), logits)
    assert read_image(tmp_path / "out/sample.png").shape[0] == pixels.shape[2]
    again = script("export.py", f"run={trained}", f"format={format}", "output=out")
    assert again.returncode == 1
    assert "exists already" in again.stderr


# --------------------------------------------------------------------------------------------- load
def test_run_folder_and_checkpoint_give_the_same_model(trained: Path, image: torch.Tensor) -> None:
    from_run, from_file = (pixelwise.load(p) for p in (trained, trained / "checkpoints/best.ckpt"))
    plain = build.model(build.without_downloads(runs.load_config(trained)))
    checkpoints.load_model(plain, trained / "checkpoints/best.ckpt").eval()
    with torch.inference_mode():
        assert torch.equal(from_run(image), plain(plain.normalize(image)))
        assert torch.equal(from_run(image), from_file(image))
        assert not torch.equal(pixelwise.load(trained, "previous")(image), from_run(image))


def test_arrays_are_cropped_as_in_evaluation(trained_classifier: Path, image: torch.Tensor) -> None:
    model = pixelwise.load(trained_classifier)
    photo = image[0].permute(1, 2, 0).numpy()
    cropped = torch.from_numpy(model.view(photo)[0]).permute(2, 0, 1)
    assert cropped.shape == (3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(photo), model(cropped))
        torch.testing.assert_close(model(np.stack([photo, photo])), model(photo).expand(2, 2))
    torch.testing.assert_close(model.probabilities(photo).sum(1), torch.ones(1))
    for wrong in (photo[..., 0], image[0].numpy(), torch.from_numpy(photo)):
        with refused("images with 3 channels"):
            model(wrong)


def test_importing_pixelwise_does_not_import_torch() -> None:
    code = "import sys, pixelwise; assert callable(pixelwise.load); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


class Bomb:
    """A malicious pickle, which creates a file when it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


def test_load_executes_no_code_of_a_file(trained: Path, hub: Path, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    state = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)

    torch.save({**state, "extra": Bomb(traces)}, tmp_path / "pickle.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Bomb(traces)))
    for file in ("pickle.ckpt", "plain.ckpt"):
        with refused("cannot be read as a checkpoint"):
            pixelwise.load(tmp_path / file)

    evil = {"_target_": "pathlib.Path.touch", "self": str(traces)}
    for part in ("encoder", "decoder"):
        torch.save({**state, "config": {**state["config"], part: {**evil, "name": "x"}}}, tmp_path / "t.ckpt")
        with refused("is not allowed"):
            pixelwise.load(tmp_path / "t.ckpt")

    copy = tmp_path / "hub"
    shutil.copytree(hub, copy)
    config = json.loads((copy / "config.json").read_text())
    config["pixelwise"]["decoder"]["widths"] = [evil]
    (copy / "config.json").write_text(json.dumps(config))
    with refused("decoder.widths"):
        pixelwise.load(copy)
    assert not traces.exists()


def test_folders_and_files_without_a_model_are_refused(trained: Path, hub: Path, tmp_path: Path) -> None:
    with refused("contains no model"):
        pixelwise.load(tmp_path / "nowhere")
    with refused("contains no model"):
        pixelwise.load(tmp_path)
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with refused("contains no config of its model"):
        pixelwise.load(tmp_path / "foreign.ckpt")

    broken = tmp_path / "hub"
    shutil.copytree(hub, broken)
    weights = load_file(broken / "model.safetensors")
    save_file({name: t for name, t in weights.items() if "head" not in name}, broken / "model.safetensors")
    with refused("does not fit the model"):
        pixelwise.load(broken)
    (broken / "model.safetensors").write_bytes(b"half")
    with refused("cannot be read as a hub folder"):
        pixelwise.load(broken)


# ------------------------------------------------------------------------------------------ refused
class Wrong:
    """A format whose files return slightly different logits."""

    def write(self, subject: Subject, folder: Path) -> None:
        self.model = subject.model
        (folder / "model").write_text("…")

    def open(self, folder: Path) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda image: self.model(image) + 0.1


def test_an_export_with_other_logits_leaves_no_files(
    model: Predictor, image: torch.Tensor, tmp_path: Path
) -> None:
    with refused("returns other logits than the trained model") as caught:
        export(Subject(model, image, {}), Wrong(), tmp_path / "out")
    assert "1.0e-01" in str(caught.value)
    assert not list(tmp_path.iterdir())
    export(Subject(model, image, {}), Wrong(), tmp_path / "out", tolerance=0.2)
    with refused("exists already"):
        export(Subject(model, image, {}), Wrong(), tmp_path / "out")


def test_missing_packages_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pixelwise.export.onnx_format.find_spec", lambda name: None if name == "onnx" else name
    )
    with refused(r'found:    onnx\n.*pip install "pixelwise\[export\]"'):
        Onnx(opset=20)


class Picky(Wrong):
    """A format whose files accept one image size only."""

    def open(self, folder: Path) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda image: self.model(image).view(1, 3, 96, 96)


def test_an_export_that_accepts_fewer_sizes_leaves_no_files(
    model: Predictor, image: torch.Tensor, tmp_path: Path
) -> None:
    with refused(r"does not accept the images[\s\S]*RuntimeError: shape"):
        export(Subject(model, image, {}), Picky(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["format=onx"], "did you mean format=onnx?"), ([], "must be given: format")],
)
def test_typos_are_reported(arguments: list[str], message: str, trained: Path, script: Script) -> None:
    done = script("export.py", f"run={trained}", *arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("chosen", "message"),
    [({"checkpoint": "bset"}, "bset.ckpt does not exist"), ({"sample": "nothing.png"}, "sample=PHOTO.jpg")],
)
def test_a_missing_file_is_named(chosen: dict[str, str], message: str, trained: Path) -> None:
    config = OmegaConf.merge(runs.load_config(trained), {"checkpoint": "best", "sample": None}, chosen)
    with refused(re.escape(message)):
        subject(config, trained)


def test_the_usage_is_shown_without_a_run(script: Script) -> None:
    done = script("export.py")
    assert done.returncode == 2
    assert "run=RUN format=onnx" in done.stderr
    assert "is not a run folder" in script("export.py", "run=nowhere", "format=hub").stderr
