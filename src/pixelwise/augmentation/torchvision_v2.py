"""An adapter that uses any transform of torchvision v2 in an augmentation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torchvision import tv_tensors

from pixelwise.augmentation.transform import Pair
from pixelwise.errors import UserError


class TorchvisionV2:
    """Applies a torchvision v2 transform to an image and its mask together, reproducibly.

        blur:
          _target_: pixelwise.augmentation.TorchvisionV2
          transform: {_target_: torchvision.transforms.v2.GaussianBlur, kernel_size: 5}

    Pixels from outside the image are 0 in the image and `IGNORE` in the mask. The transform must keep the
    size and dtype of the image. Some torchvision transforms do not accept uint16.

    Args:
        transform: a v2 transform, or a container such as `RandomApply`.
    """

    def __init__(self, transform: nn.Module) -> None:
        self.transform = transform

    def __call__(self, image: np.ndarray, mask: np.ndarray | None, rng: np.random.Generator) -> Pair:
        """Transform image (H, W, C) and mask (H, W).

        Raises:
            UserError: there is a mask, and the transform sets its own `fill` or does not accept masks.
        """
        seed = int(rng.integers(2**63))
        inputs: list[torch.Tensor] = [tv_tensors.Image(np.ascontiguousarray(image.transpose(2, 0, 1)))]
        if mask is not None:
            self._refuse_fill()
            # torchvision fills masks with 0, which is a class. In the inverted mask, 0 means IGNORE (255).
            inputs.append(tv_tensors.Mask(~mask))

        # torchvision uses torch's global generator. Seed the CPU generator only, and restore its state:
        # without workers, torch.manual_seed would change dropout on the device.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            try:
                outputs = self.transform(*inputs)
            except TypeError as error:
                if mask is None:
                    raise
                name = type(self.transform).__name__
                raise UserError(
                    f"augmentation.extra: torchvision's {name} does not accept masks",
                    found=error,
                    fix=f"remove {name}, or use it for task=classification",
                ) from error

        image_tensor, *inverted = outputs if mask is not None else [outputs]
        new_image = np.ascontiguousarray(image_tensor.numpy().transpose(1, 2, 0))
        return new_image, ~inverted[0].numpy() if inverted else None

    def _refuse_fill(self) -> None:
        """Raise an error for a `fill`: torchvision would also write it into the mask, as a label."""
        for part in _parts(self.transform):
            fill = getattr(part, "fill", None)
            if fill is not None and (isinstance(fill, dict) or np.any(fill)):
                raise UserError(
                    f"{type(part).__name__}.fill would become a label in the mask",
                    found=f"fill: {fill}",
                    expected="no fill: outside the image, pixels are 0 and the mask is ignored",
                    fix="remove `fill` from the transform under augmentation.extra",
                )


def _parts(transform: nn.Module) -> Iterator[nn.Module]:
    """Yield a transform and all transforms in it; v2 containers have a list `transforms`."""
    yield transform
    for part in getattr(transform, "transforms", []):
        yield from _parts(part)
