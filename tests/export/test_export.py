"""Exports of a trained run: each format, the model card, `pixelwise.load`, and errors."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import yaml
from huggingface_hub import ModelCard
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file, save_file
from tests.helpers import Script, refused

import pixelwise
from pixelwise import build, runs
from pixelwise.build.restore import Predictor
from pixelwise.data.io.images import read_image
from pixelwise.export import Hub, Onnx, Program, Subject, compare, export, subject
from pixelwise.export.format import Format
from pixelwise.export.timm_twin import write_twin
from pixelwise.runs import checkpoints

CARD = SimpleNamespace(
    segmentation={"pipeline_tag": "image-segmentation", "metrics": {"miou": "mean_iou"}},
    classification={"pipeline_tag": "image-classification", "metrics": {"accuracy": "accuracy"}},
)
SCORES = {"test/miou": 0.25, "test/iou/cat": 0.5, "test/mean_f1": float("nan")}


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 96, 96), dtype=np.uint8))


@pytest.fixture(scope="module")
def model(trained: Path) -> Predictor:
    return pixelwise.load(trained)


@pytest.fixture(scope="module")
def hub(model: Predictor, image: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub folder of the tiny segmenter."""
    folder = tmp_path_factory.mktemp("hub") / "segmenter"
    exported = Subject(model, image, SCORES, base_model="timm/test_resnet.r160_in1k")
    export(exported, Hub("mit", "/data/toy", **CARD.segmentation), folder)
    return folder


@pytest.fixture(scope="module")
def classifier_hub(trained_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hub folder of the tiny classifier."""
    folder = tmp_path_factory.mktemp("hub") / "classifier"
    model = pixelwise.load(trained_classifier)
    photo = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    cropped = torch.from_numpy(model.view(photo)[0]).permute(2, 0, 1)[None].contiguous()
    export(Subject(model, cropped, {}), Hub(None, None, **CARD.classification), folder)
    return folder


def sample(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(folder / "sample.npz") as arrays:
        return torch.from_numpy(arrays["image"]), torch.from_numpy(arrays["logits"])


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


# ---------------------------------------------------------------------------------------------- hub
def test_a_hub_folder_loads_with_the_logits_of_its_sample(hub: Path, model: Predictor) -> None:
    loaded = pixelwise.load(hub)
    pixels, logits = sample(hub)
    assert torch.equal(loaded(pixels), logits)
    assert loaded.classes == model.classes
    assert not loaded.training
    config = json.loads((hub / "config.json").read_text())
    assert config["id2label"] == dict(zip("0123456789", model.classes, strict=False))
    assert config["label2id"] == {name: index for index, name in enumerate(model.classes)}
    assert config["image_mean"] == [0.5, 0.5, 0.5]
    assert config["image_std"] == model.normalize.std.tolist()
    assert config["size"] is None  # images keep their size
    assert "source" not in config["pixelwise"]["data"]


def test_the_card_states_no_licence_unless_given(classifier_hub: Path) -> None:
    assert "license" not in yaml.safe_load(ModelCard.load(classifier_hub / "README.md").data.to_yaml())


def test_the_card_has_metadata_for_the_hub(hub: Path) -> None:
    card = ModelCard.load(hub / "README.md")
    facts = yaml.safe_load(card.data.to_yaml())
    assert facts["library_name"] == "pixelwise"
    assert facts["pipeline_tag"] == "image-segmentation"
    assert facts["license"] == "mit"
    assert {"pixelwise", "timm", "segmentation", "test_resnet", "unet"} <= set(facts["tags"])
    assert facts["base_model"] == "timm/test_resnet.r160_in1k"
    assert facts["metrics"] == ["mean_iou"]
    (result,) = facts["model-index"][0]["results"]
    assert result["dataset"] == {"name": "toy", "type": "toy", "split": "test"}
    (metric,) = result["metrics"]
    assert (metric["type"], metric["name"], metric["value"]) == ("mean_iou", "miou", 0.25)
    assert metric["args"]["classes"] == ["background", "cat", "dog"]
    assert metric["args"]["ignore_index"] == 255


def test_the_code_of_the_card_runs(hub: Path) -> None:
    code = (hub / "README.md").read_text().split("```python")[1].split("```")[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=hub, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0.0", done.stderr


def test_timm_alone_loads_a_classifier(classifier_hub: Path, trained_classifier: Path) -> None:
    model = pixelwise.load(trained_classifier)
    pixels, logits = sample(classifier_hub)
    assert json.loads((classifier_hub / "config.json").read_text())["size"] == {"height": 32, "width": 32}
    assert ModelCard.load(classifier_hub / "README.md").data.pipeline_tag == "image-classification"
    ways = {
        "local-dir": timm.create_model(f"local-dir:{classifier_hub / 'timm'}", pretrained=True),
        "checkpoint": timm.create_model(
            "test_resnet", num_classes=2, checkpoint_path=classifier_hub / "timm/model.safetensors"
        ),
        "overlay": timm.create_model(
            "test_resnet",
            pretrained=True,
            num_classes=2,
            pretrained_cfg_overlay={"file": str(classifier_hub / "timm/model.safetensors"), "num_classes": 2},
        ),
    }
    for way, network in ways.items():
        with torch.inference_mode():
            difference = (network.eval()(model.normalize(pixels)) - logits).abs().max()
        assert difference < 1e-4, way
    settings = timm.data.resolve_model_data_config(ways["local-dir"])
    assert list(settings["mean"]) == model.normalize.mean.tolist()
    assert tuple(settings["input_size"]) == (3, 32, 32)


@pytest.mark.parametrize(
    ("encoder", "pool"),
    [("test_convnext", None), ("mobilenetv3_small_050", None), ("test_vit", None), ("test_vit", "token_avg")],
)
def test_a_classifier_with_timms_own_pool_becomes_a_timm_folder(
    encoder: str, pool: str | None, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    pools = [f"pool={pool}"] if pool else []
    config = compose("task=classification", "encoder=test_resnet", f"encoder.name={encoder}", *pools)
    model = Predictor(build.model(config), config)
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    assert write_twin(Subject(model, image, {}), tmp_path / "timm") == (pool is None)
    assert (tmp_path / "timm").exists() == (pool is None)
    if pool is None:
        twin = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
        with torch.inference_mode():
            torch.testing.assert_close(twin(model.normalize(image)), model(image), atol=1e-6, rtol=0)


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
    with refused("is not allowed"):
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
