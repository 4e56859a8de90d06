"""Any transform of torchvision v2 as a step of an augmentation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torchvision import tv_tensors

from pixelwise.augmentation.transform import Pair
from pixelwise.errors import UserError


class TorchvisionV2:
    """Lets a torchvision v2 transform work on an image and its mask together, repeatably.

        blur:
          _target_: pixelwise.augmentation.TorchvisionV2
          transform: {_target_: torchvision.transforms.v2.GaussianBlur, kernel_size: 5}

    What such a transform brings in from beyond the edge is 0 in the image and `IGNORE` in the mask. It must
    keep the image's size and dtype. torchvision does not take uint16 everywhere.

    Args:
        transform: any v2 transform, also a container such as `RandomApply`.
    """

    def __init__(self, transform: nn.Module) -> None:
        self.transform = transform

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Pair:
        """Transform image (H, W, C) and mask (H, W).

        Raises:
            UserError: there is a mask, and the transform has a `fill` of its own.
        """
        seed = int(rng.integers(2**63))
        inputs: list[torch.Tensor] = [tv_tensors.Image(np.ascontiguousarray(image.transpose(2, 0, 1)))]
        if mask is not None:
            self._refuse_fill()
            # torchvision fills masks with 0, which is a real class. On the inverted mask its 0 is our 255.
            inputs.append(tv_tensors.Mask(~mask))

        # torchvision draws from torch's global generator. Only the CPU's is seeded, and it is put back:
        # torch.manual_seed would disturb dropout on the device when there are no workers.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            outputs = self.transform(*inputs)

        seen, *labels = outputs if mask is not None else [outputs]
        new_image = np.ascontiguousarray(seen.numpy().transpose(1, 2, 0))
        return new_image, ~labels[0].numpy() if labels else None

    def _refuse_fill(self) -> None:
        """A `fill` is meant for the image, but torchvision would write it into the mask too, as a label."""
        for part in _parts(self.transform):
            fill = getattr(part, "fill", None)
            if fill is not None and (isinstance(fill, dict) or np.any(fill)):
                raise UserError(
                    f"{type(part).__name__}.fill would become a label in the mask",
                    found=f"fill: {fill}",
                    expected="no fill: beyond the edge the image is 0 and the mask says ignore",
                    fix="remove `fill` from the transform under augmentation.extra",
                )


def _parts(transform: nn.Module) -> Iterator[nn.Module]:
    """A transform and all that it contains; v2 containers keep theirs in a list called `transforms`."""
    yield transform
    for part in getattr(transform, "transforms", []):
        yield from _parts(part)
