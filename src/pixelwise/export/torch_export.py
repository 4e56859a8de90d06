"""Export with torch.export: a graph of the model that runs without its Python code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from timm.layers import padding
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.fx.experimental import _config as tracing
from torch.overrides import TorchFunctionMode

from pixelwise.errors import UserError
from pixelwise.export.agreement import accepts
from pixelwise.export.format import Network, Subject
from pixelwise.files import disk_error
from pixelwise.models import Composition, Encoder

SIDES = (97, 131)
"""Height and width for tracing: primes, so that the graph pads for every stride."""


class Program:
    """Writes `model.pt2` with classes.json inside; `torch.export.load(FILE).module()(image)` gives logits."""

    def write(self, subject: Subject, folder: Path) -> None:
        """Trace the model and save the graph."""
        program = trace(subject)
        names = {"classes.json": json.dumps(subject.model.classes)}
        file = folder / "model.pt2"
        with translate_errors("this model's graph cannot be saved"), file.open("wb") as stream:
            torch.export.save(program, stream, extra_files=names)  # given a path, it hides why it fails

    def open(self, folder: Path) -> Network:
        """Load the graph."""
        return torch.export.load(folder / "model.pt2").module()


def trace(subject: Subject) -> ExportedProgram:
    """Return the graph from raw images to logits, including the preprocessing.

    The batch size, height and width are dynamic. If the encoder accepts one image size only, just the batch
    size is dynamic.

    Raises:
        UserError: PyTorch cannot trace the model.
    """
    image = subject.image.new_zeros(2, subject.image.shape[1], *sides(subject.model))
    dynamic = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    if not accepts(subject.model, image):
        image, dynamic = torch.cat([subject.image, subject.image]), {0: Dim.DYNAMIC}
    with (
        translate_errors("this model cannot be traced for batches and images of any size"),
        # do not treat a size of 1 as a special case
        tracing.patch(backed_size_oblivious=2 in dynamic),  # type: ignore[attr-defined]
        PoolByMatrices(),
        patch.object(padding, "get_same_padding", same_padding),
        torch.no_grad(),
    ):
        program = torch.export.export(
            subject.model, (image,), dynamic_shapes={"image": dynamic}, strict=False
        )
    # Guards on memory layouts, such as "more than one image", would refuse sizes that the graph supports.
    program._guards_code = []
    return program


def sides(model: Composition) -> tuple[int, ...]:
    """Return height and width for tracing, larger than one attention window of the encoder.

    With a single window no memory is moved, and the traced graph would be wrong for several windows.
    """
    multiple = (isinstance(model.encoder, Encoder) and model.encoder.spec.multiple) or 1
    return tuple(side if side > multiple else side + multiple for side in SIDES)


def same_padding(length: int, kernel_size: int, stride: int, dilation: int) -> int:
    """Compute `timm.layers.get_same_padding` in integers; graphs with `math.ceil` cannot be saved."""
    return max((-(-length // stride) - 1) * stride + (kernel_size - 1) * dilation + 1 - length, 0)


class PoolByMatrices(TorchFunctionMode):
    """Replaces adaptive average pooling by matrix products, for maps of any size.

    The mean over bins is a linear map along each axis. ONNX has no adaptive pooling, and PyTorch's own
    conversion is correct for the traced size only.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call `pool_by_matrices` instead of `F.adaptive_avg_pool2d`."""
        if func is F.adaptive_avg_pool2d:
            return pool_by_matrices(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def pool_by_matrices(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """(B, C, H, W) → (B, C, *output_size), the same as `F.adaptive_avg_pool2d`."""
    rows, columns = (output_size,) * 2 if isinstance(output_size, int) else output_size
    return _bins(input, -2, rows) @ input @ _bins(input, -1, columns).T


def _bins(x: Tensor, axis: int, count: int) -> Tensor:
    """Return the (count, length) matrix that averages each bin along an axis; bins may overlap."""
    length = x.shape[axis]
    bins = torch.arange(count, device=x.device)[:, None]
    start, end = bins * length // count, ((bins + 1) * length + count - 1) // count
    position = torch.arange(length, device=x.device)
    return ((position >= start) & (position < end)).to(x.dtype) / (end - start).to(x.dtype)


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turn any exception of PyTorch, which has many types, into a `UserError` with the message `what`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if disk_error(error):
            raise
        reason = str(error).strip().splitlines() or [""]
        raise UserError(
            what,
            found=f"{type(error).__name__}: {reason[0]}",
            fix="another format, encoder or decoder; HYDRA_FULL_ERROR=1 shows the traceback",
        ) from error
