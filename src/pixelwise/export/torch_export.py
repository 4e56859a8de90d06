"""torch.export: the model as a graph that runs without its Python code."""

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
from pixelwise.models import Composition, Encoder

SIDES = (97, 131)
"""Height and width to trace with: nothing divides them, so that no padding is taken for granted."""


class Program:
    """`model.pt2`: `torch.export.load(FILE).module()(image)` gives logits; classes.json is inside."""

    def write(self, subject: Subject, folder: Path) -> None:
        """Trace and save."""
        program = trace(subject)
        names = {"classes.json": json.dumps(subject.model.classes)}
        with explained("this model's graph cannot be saved"):
            torch.export.save(program, folder / "model.pt2", extra_files=names)

    def open(self, folder: Path) -> Network:
        """Load the graph."""
        return torch.export.load(folder / "model.pt2").module()


def trace(subject: Subject) -> ExportedProgram:
    """The graph from raw images to logits, with preprocessing.

    Batch, height and width are free; of an encoder that takes images of one size only, the batch.

    Raises:
        UserError: PyTorch cannot follow the model.
    """
    image = subject.image.new_zeros(2, subject.image.shape[1], *sides(subject.model))
    free = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    if not accepts(subject.model, image):
        image, free = torch.cat([subject.image, subject.image]), {0: Dim.DYNAMIC}
    with (
        explained("this model cannot be traced for batches and images of any size"),
        # 1 is a size like any other
        tracing.patch(backed_size_oblivious=2 in free),  # type: ignore[attr-defined]
        PoolByMatrices(),
        patch.object(padding, "get_same_padding", same_padding),
        torch.no_grad(),
    ):
        program = torch.export.export(subject.model, (image,), dynamic_shapes={"image": free}, strict=False)
    # Remarks on memory layouts, such as "more than one image", refuse sizes that the graph can do.
    program._guards_code = []
    return program


def sides(model: Composition) -> tuple[int, ...]:
    """Height and width to trace with; more than what the encoder pads to a single window.

    Of one window no memory is moved, and the graph would not know that it has to be for several.
    """
    multiple = (isinstance(model.encoder, Encoder) and model.encoder.spec.multiple) or 1
    return tuple(side if side > multiple else side + multiple for side in SIDES)


def same_padding(length: int, kernel_size: int, stride: int, dilation: int) -> int:
    """`timm.layers.get_same_padding` in whole numbers; graphs with its `math.ceil` cannot be saved."""
    return max((-(-length // stride) - 1) * stride + (kernel_size - 1) * dilation + 1 - length, 0)


class PoolByMatrices(TorchFunctionMode):
    """Adaptive average pooling in operations that every runtime has, for maps of any size.

    The mean over bins is a linear map along each axis. ONNX has no adaptive pooling, and PyTorch's own
    translation holds for the traced size only.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace the one function."""
        if func is F.adaptive_avg_pool2d:
            return pool_by_matrices(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def pool_by_matrices(input: Tensor, output_size: int | Sequence[int]) -> Tensor:
    """(B, C, H, W) → (B, C, *output_size), the same as `F.adaptive_avg_pool2d`."""
    rows, columns = (output_size,) * 2 if isinstance(output_size, int) else output_size
    return _bins(input, -2, rows) @ input @ _bins(input, -1, columns).T


def _bins(x: Tensor, axis: int, count: int) -> Tensor:
    """(count, length) matrix that takes the mean over each bin along an axis; bins may overlap."""
    length = x.shape[axis]
    bins = torch.arange(count, device=x.device)[:, None]
    start, end = bins * length // count, ((bins + 1) * length + count - 1) // count
    place = torch.arange(length, device=x.device)
    return ((place >= start) & (place < end)).to(x.dtype) / (end - start).to(x.dtype)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what PyTorch raises, each layer of it something else, into one `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise UserError(
            what,
            found=f"{type(error).__name__}: {reason[0]}",
            fix="another format, encoder or decoder; HYDRA_FULL_ERROR=1 shows where",
        ) from error
