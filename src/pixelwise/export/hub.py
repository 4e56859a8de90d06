"""Export to a folder in the layout of the Hugging Face hub: weights, config, model card and a sample."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from safetensors.torch import save

from pixelwise import __version__
from pixelwise.augmentation import CenterCrop
from pixelwise.build import restore
from pixelwise.export.format import Network, Subject
from pixelwise.export.timm_twin import write_twin
from pixelwise.files import write_json, write_text
from pixelwise.protocols import ScoreName
from pixelwise.types import IGNORE

log = logging.getLogger(__name__)


class Hub:
    """Writes `model.safetensors`, `config.json` and `README.md`, for `pixelwise.load(FOLDER)`.

    For a classifier, it also writes a folder `timm`, which timm loads without this package, if timm's model
    consists of the encoder, global average pooling and a linear layer.

    Args:
        license: licence identifier of the hub, such as mit, apache-2.0 or cc-by-4.0; None states no licence.
        dataset: name of the data set, or a path that ends in this name; None for images drawn by code.
        pipeline_tag: the hub's name of the task.
        metrics: name of a score → the hub's name of this score; these scores are written to the card.
    """

    def __init__(
        self, license: str | None, dataset: str | None, pipeline_tag: str, metrics: Mapping[str, str]
    ) -> None:
        self.license = license
        self.dataset = Path(dataset).name if dataset else "images drawn by code"
        self.pipeline_tag = pipeline_tag
        self.metrics = dict(metrics)

    def write(self, subject: Subject, folder: Path) -> None:
        """Write all files but the sample."""
        weights = {name: tensor.contiguous() for name, tensor in subject.model.state_dict().items()}
        (folder / "model.safetensors").write_bytes(save(weights, metadata={"format": "pt"}))
        write_json(folder / "config.json", config(subject.model))
        has_twin = write_twin(subject, folder / "timm")
        write_text(folder / "README.md", self.card(subject, has_twin))

    def open(self, folder: Path) -> Network:
        """Load the model as a user would, with `pixelwise.load`."""
        return restore.load(folder)

    def card(self, subject: Subject, has_twin: bool) -> str:
        """Return the text of README.md, with its metadata as YAML at the top."""
        model = subject.model
        encoder, decoder = model.config["encoder"]["name"], model.config["decoder"]["_target_"]
        decoder = decoder.rsplit(".", 1)[-1].lower()
        results = self.results(subject)
        metadata = ModelCardData(
            library_name="pixelwise",
            pipeline_tag=self.pipeline_tag,
            license=self.license,
            tags=["pixelwise", "timm", model.config["task"]["name"], encoder, decoder],
            base_model=subject.base_model,
            metrics=sorted(set(self.metrics.values())),
            model_name=f"{encoder} {decoder}",
            eval_results=results,
        )
        scores = "\n".join(f"| {r.metric_name} | {r.dataset_split} | {r.metric_value:.4f} |" for r in results)
        text = CARD.format(
            encoder=encoder,
            decoder=decoder,
            task=model.config["task"]["name"],
            dataset=self.dataset,
            classes="\n".join(f"| {index} | {name} |" for index, name in enumerate(model.classes)),
            scores=f"| score | split | value |\n|---|---|---|\n{scores}\n" if results else "Not scored.\n",
            ignore=IGNORE,
            version=__version__,
            size=_describe(model.view),
        )
        return f"---\n{metadata.to_yaml()}\n---\n{text}{TIMM if has_twin else ''}"

    def results(self, subject: Subject) -> list[EvalResult]:
        """Return the scores that have a name on the hub, with the classes they include."""
        results = []
        for name, value in subject.scores.items():
            parsed = ScoreName.parse(name, subject.model.classes)
            score = parsed.kind if parsed.class_name is None else ""
            named = "/".join(filter(None, (parsed.evaluation, score)))
            if score in self.metrics and value == value:  # undefined scores are NaN
                results.append(
                    EvalResult(
                        task_type=self.pipeline_tag,
                        dataset_type=self.dataset,
                        dataset_name=self.dataset,
                        dataset_split=parsed.split,
                        metric_type=self.metrics[score],
                        metric_name=named,
                        metric_value=value,
                        metric_args={
                            "classes": list(subject.model.classes),
                            "ignore_index": IGNORE,
                            "absent_classes": "left out of means",
                        },
                    )
                )
        return results


def config(model: restore.Predictor) -> dict[str, Any]:
    """Return config.json: facts for the hub and other programs, and the model's config at `pixelwise`."""
    names = [str(name) for name in model.classes]
    size = model.view.size
    return {
        "library_name": "pixelwise",
        "pixelwise_version": __version__,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "num_channels": model.channels,
        "image_mean": model.normalize.mean.tolist(),
        "image_std": model.normalize.std.tolist(),
        "size": {"height": size[0], "width": size[1]} if size else None,
        "pixelwise": model.config,
    }


def _describe(view: CenterCrop) -> str:
    size, protocol = view.size, str(view.protocol)
    if size is None:
        return f"In evaluation: {protocol}." if protocol else "Images keep their size."
    resized = protocol or f"images resized so that they just cover {size[0]}×{size[1]}"
    return f"In evaluation: {resized}; the centre of {size[0]}×{size[1]} is cropped."


CARD = """
# {encoder} {decoder}

A model for {task}, trained on {dataset} with pixelwise {version}.

![A sample image and its prediction](sample.png)

```python
import numpy as np
import pixelwise
import torch

model = pixelwise.load(".")  # this folder, or the result of huggingface_hub.snapshot_download(…)
sample = np.load("sample.npz")
logits = model(torch.from_numpy(sample["image"]))  # input (B, C, H, W): pixels as stored in the file
print(float((logits - torch.from_numpy(sample["logits"])).abs().max()))  # about 0

# probabilities = model.probabilities(np.asarray(PIL.Image.open("photo.jpg").convert("RGB")))
```

{size}
The model itself scales integers to [0, 1], and normalises with the mean and std of `config.json`.

| class | name |
|---|---|
{classes}

## Scores

{scores}
Pixels with label {ignore} are ignored in all scores. Means exclude classes that occur neither in the labels
nor in the predictions. Scores are computed from one confusion matrix over the split.
"""

TIMM = """
## Use with timm alone

```python
import timm

model = timm.create_model("local-dir:timm", pretrained=True).eval()
```

The input is a normalised image; mean and std are in `timm/config.json`.
"""
