"""Export to ONNX, for onnxruntime, TensorRT, OpenVINO and others."""

from __future__ import annotations

import json
import logging
import operator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pixelwise.errors import UserError
from pixelwise.export.format import Network, Subject
from pixelwise.export.torch_export import trace, translate_errors
from pixelwise.kinds import Range

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LARGEST = 2**31 - 2**24
"""Largest size of weights in one file, in bytes; protocol buffers are limited to 2 GiB."""


class Onnx:
    """Writes `model.onnx` with input `image`, output `logits` and the class names in its metadata.

    Args:
        opset: version of the ONNX operators, at least 18; older runtimes may need a lower version.

    Raises:
        UserError: a package is missing.
    """

    def __init__(self, opset: Annotated[int, Range(18)]) -> None:
        if missing := [name for name in PACKAGES if find_spec(name) is None]:
            raise UserError(
                "format=onnx needs packages that are missing",
                found=", ".join(missing),
                fix='pip install "pixelwise[export]", or pip install ' + " ".join(missing),
            )
        self.opset = opset
        for name in ("onnxscript", "onnx_ir"):  # they log each optimisation
            logging.getLogger(name).setLevel(logging.WARNING)

    def write(self, subject: Subject, folder: Path) -> None:
        """Trace the model, convert the graph and save it; very large weights get their own file."""
        program = trace(subject)
        with (
            translate_errors("this model's graph cannot be written as ONNX"),
            sdpa_kernel(SDPBackend.MATH),  # attention as operators that ONNX has
        ):
            exported = torch.onnx.export(
                program,
                input_names=["image"],
                output_names=["logits"],
                dynamic_shapes={"image": {0: "batch", 2: "height", 3: "width"}},
                custom_translation_table={operator.floordiv: _floor_divide},
                opset_version=self.opset,
                dynamo=True,
                verbose=False,
            )
        assert exported is not None
        exported.model.metadata_props["classes"] = json.dumps(subject.model.classes)
        size = sum(tensor.nbytes for tensor in subject.model.state_dict().values())
        exported.save(folder / "model.onnx", external_data=size > LARGEST)

    def open(self, folder: Path) -> Network:
        """Load the model in onnxruntime on the CPU."""
        from onnxruntime import InferenceSession

        session = InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

        def network(image: Tensor) -> Tensor:
            return torch.from_numpy(np.asarray(session.run(["logits"], {"image": image.numpy()})[0]))

        return network


def _floor_divide(dividend: Any, divisor: Any) -> Any:
    """Return Python's `//` as ONNX operators: ONNX's own division rounds towards zero."""
    from onnxscript import opset18

    return opset18.Div(opset18.Sub(dividend, opset18.Mod(dividend, divisor)), divisor)
