"""Time of the losses, forward and backward, compared with common implementations, on 8 x 6 x 512^2 logits.

    python benchmarks/losses.py [PAIRS]

The two sides of a pair run in turn in one process, so that other load on the machine slows both; the ratio is
the median over PAIRS pairs (default 15). Times are CPU times of all threads of this process.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss, JaccardLoss, LovaszLoss, TverskyLoss
from torch import Tensor

from pixelwise.losses import (
    MCC,
    CrossEntropy,
    Dice,
    Focal,
    FocalTversky,
    FusedSum,
    GeneralizedDice,
    Jaccard,
    Lovasz,
    OHEMCrossEntropy,
    Tversky,
    WeightedSum,
)
from pixelwise.metrics.confusion import SegmentationScores
from pixelwise.types import IGNORE

Loss = Callable[[Tensor, Tensor], Tensor]
PAIRS = int(sys.argv[1]) if len(sys.argv) > 1 else 15


def step_ms(loss: Loss, logits: Tensor, target: Tensor) -> float:
    """Return the milliseconds of one forward and backward pass."""
    logits = logits.detach().requires_grad_()
    output = logits * 1  # no leaf, whose gradient would be copied into its memory format
    start = time.process_time()
    torch.autograd.grad(loss(output, target), output)
    return 1000 * (time.process_time() - start)


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

    smp = {"mode": "multiclass", "ignore_index": IGNORE}
    ce_and = {
        name: {"cross_entropy": CrossEntropy(), name: part}
        for name, part in {"dice": Dice(), "lovasz": Lovasz()}.items()
    }
    rivals: list[tuple[str, Loss, Loss]] = [
        ("Dice | SMP's DiceLoss", Dice(), DiceLoss(**smp)),
        ("Jaccard | SMP's JaccardLoss", Jaccard(), JaccardLoss(**smp)),
        ("Tversky | SMP's TverskyLoss", Tversky(), TverskyLoss(**smp, alpha=0.3, beta=0.7)),
        ("Lovasz | SMP's LovaszLoss", Lovasz(), LovaszLoss(**smp)),
        ("CrossEntropy | F.cross_entropy", CrossEntropy(), plain),
        ("ce_dice, fused | F.cross_entropy", FusedSum(ce_and["dice"]), plain),
        ("ce_dice, as a sum | F.cross_entropy", WeightedSum(ce_and["dice"]), plain),
        ("ce_lovasz | F.cross_entropy", WeightedSum(ce_and["lovasz"]), plain),
        ("Focal | F.cross_entropy", Focal(), plain),
        ("OHEMCrossEntropy | F.cross_entropy", OHEMCrossEntropy(), plain),
        ("GeneralizedDice | F.cross_entropy", GeneralizedDice(), plain),
        ("FocalTversky | F.cross_entropy", FocalTversky(), plain),
        ("MCC | F.cross_entropy", MCC(), plain),
    ]
    for memory_format in (torch.contiguous_format, torch.channels_last):
        logits = nchw.contiguous(memory_format=memory_format)
        print(f"{memory_format}, {torch.get_num_threads()} threads")
        for name, ours, theirs in rivals:
            compare(name, ours, theirs, logits, target)

        metric = SegmentationScores([str(label) for label in range(6)])
        times = []
        for _ in range(PAIRS + 1):
            start = time.process_time()
            metric.update(logits, target)
            times.append(1000 * (time.process_time() - start))
        print(f"  {'score update with argmax':<38} {statistics.median(times[1:]):6.0f} ms")


if __name__ == "__main__":
    main()
