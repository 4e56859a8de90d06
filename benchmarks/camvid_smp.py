"""The reference for `experiment=camvid`: a plain PyTorch loop with segmentation_models_pytorch's U-Net.

    python benchmarks/camvid_smp.py DIR [SEED]

The same recipe (CE + Dice, AdamW, one-cycle 2e-3, batch 8, 20 epochs, horizontal flip, bf16, channels-last),
without configs, checkpoints, logs or resume. Prints the mIoU on the validation split and the seconds.
"""

import random
import sys
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset

CLASSES, EPOCHS, BATCH, RATE = 11, 20, 8, 2e-3


class CamVid(Dataset):
    """Pairs of images and index masks; label 11 becomes 255."""

    def __init__(self, root: Path, flip: bool) -> None:
        self.files = sorted((root / "images").glob("*"))
        self.flip = flip

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        file = self.files[index]
        image = np.asarray(Image.open(file).convert("RGB"))
        mask = np.array(Image.open(file.parents[1] / "masks" / f"{file.stem}.png"))
        mask[mask == CLASSES] = 255
        if self.flip and random.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        pixels = (image.astype(np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
        return tensor, torch.from_numpy(mask.astype(np.int64))


def main(root: Path, seed: int) -> None:
    """Train, and print the validation mIoU after each epoch."""
    begin = time.perf_counter()
    random.seed(seed)
    torch.manual_seed(seed)
    model = smp.Unet("resnet18", encoder_weights=None, classes=CLASSES).to(memory_format=torch.channels_last)
    train = DataLoader(CamVid(root / "train", flip=True), BATCH, shuffle=True, drop_last=True)
    val = DataLoader(CamVid(root / "val", flip=False), BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * len(train))
    dice = smp.losses.DiceLoss("multiclass", ignore_index=255)
    for epoch in range(EPOCHS):
        model.train()
        for image, mask in train:
            # SMP's model needs multiples of 32; 180 rows are not
            image = F.pad(image, (0, 16, 0, 12)).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(image)[..., :180, :240].float()
            loss = F.cross_entropy(logits, mask, ignore_index=255) + dice(logits, mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        model.eval()
        matrix = torch.zeros(CLASSES, CLASSES, dtype=torch.long)
        for image, mask in val:
            image = F.pad(image, (0, 16, 0, 12)).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                guess = model(image)[..., :180, :240].max(1).indices
            kept = mask != 255
            matrix += torch.bincount(mask[kept] * CLASSES + guess[kept], minlength=CLASSES**2).view_as(matrix)
        hits = matrix.diag().double()
        miou = (hits / (matrix.sum(0) + matrix.sum(1) - hits)).nanmean()
        print(f"epoch {epoch + 1}  mIoU {miou:.4f}  {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
