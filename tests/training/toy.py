"""A small regression with dropout: all that makes resuming hard. Also run as a script, to be killed."""

import os
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import torch

from xlstm_apps.training import BatchLoader, FitConfig, FitResult, fit


class Points(torch.utils.data.Dataset):
    def __init__(self, count: int):
        generator = torch.Generator().manual_seed(count)
        self.x = torch.randn(count, 4, generator=generator)
        self.y = self.x.sum(1, keepdim=True) + torch.randn(count, 1, generator=generator)

    def __len__(self):
        return len(self.x)

    def __getitems__(self, indices):
        return self.x[indices], self.y[indices]


class Toy(pl.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1)
        )
        self.steps = 0

    def training_step(self, batch, batch_idx):
        self.steps += 1
        time.sleep(float(os.environ.get("TOY_SLEEP", 0)))
        return (self.net(batch[0]) - batch[1]).square().mean()

    def on_validation_epoch_start(self):
        self.total, self.count = 0.0, 0

    def validation_step(self, batch, batch_idx):
        self.total += float((self.net(batch[0]) - batch[1]).square().sum())
        self.count += len(batch[0])

    def on_validation_epoch_end(self):
        self.log("val_loss", self.total / self.count)


def train(run_dir: Path | None, resume: bool = False, spe: int | None = 5, **options):
    """Fit the toy; returns the module and the result."""
    module = Toy()
    loader = BatchLoader(Points(50), 8, seed=3, shuffle=True, steps_per_epoch=spe)
    config = FitConfig(**{"checkpoint_seconds": 0, **options})
    result: FitResult = fit(module, loader, BatchLoader(Points(20), 8), config, seed=3, run_dir=run_dir, resume=resume)
    return module, result


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), resume=sys.argv[2] == "resume", max_epochs=6, patience=4, learning_rate=0.03)
