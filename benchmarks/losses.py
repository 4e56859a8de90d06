"""Forward and backward of the losses beside the usual implementations, on 8 x 6 x 512^2 logits.

    python benchmarks/losses.py

Each pair takes turns in one process, so that a busy machine slows both; the ratio is the pairs' median.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor

from pixelwise.losses import CrossEntropy, Dice, Focal, WeightedSum
from pixelwise.scores import SegmentationScores
from pixelwise.types import IGNORE

Loss = Callable[[Tensor, Tensor], Tensor]
PAIRS = 15


def step_ms(loss: Loss, logits: Tensor, target: Tensor) -> float:
    """Milliseconds of one forward and backward pass."""
    logits = logits.detach().requires_grad_()
    output = logits * 1  # as from a network: the gradient need not be copied into a leaf's memory format
    start = time.perf_counter()
    torch.autograd.grad(loss(output, target), output)
    return 1000 * (time.perf_counter() - start)


def compare(name: str, ours: Loss, theirs: Loss, logits: Tensor, target: Tensor) -> None:
    """Print both medians and the median ratio."""
    pairs = [[step_ms(loss, logits, target) for loss in (ours, theirs)] for _ in range(PAIRS + 1)][1:]
    mine, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"  {name:<38} {mine:6.0f} ms {other:6.0f} ms   ratio {ratio:.2f}")


def main() -> None:
    """Compare in both memory formats, then time one score update."""
    random = torch.Generator().manual_seed(0)
    nchw = torch.randn(8, 6, 512, 512, generator=random)
    target = torch.randint(6, (8, 32, 32), generator=random).repeat_interleave(16, 1).repeat_interleave(16, 2)
    target[:, :40] = IGNORE

    def plain(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, ignore_index=IGNORE)

    smp_dice = DiceLoss("multiclass", from_logits=True, ignore_index=IGNORE)
    ce_dice = WeightedSum({"cross_entropy": CrossEntropy(), "dice": Dice()})
    for memory_format in (torch.contiguous_format, torch.channels_last):
        logits = nchw.contiguous(memory_format=memory_format)
        print(f"{memory_format}, {torch.get_num_threads()} threads")
        compare("Dice | SMP's DiceLoss", Dice(), smp_dice, logits, target)
        compare("CrossEntropy | F.cross_entropy", CrossEntropy(), plain, logits, target)
        compare("Focal | F.cross_entropy", Focal(), plain, logits, target)
        compare("CrossEntropy + Dice | F.cross_entropy", ce_dice, plain, logits, target)

        metric = SegmentationScores([str(label) for label in range(6)])
        times = []
        for _ in range(PAIRS + 1):
            start = time.perf_counter()
            metric.update(logits, target)
            times.append(1000 * (time.perf_counter() - start))
        print(f"  {'score update with argmax':<38} {statistics.median(times[1:]):6.0f} ms")


if __name__ == "__main__":
    main()
