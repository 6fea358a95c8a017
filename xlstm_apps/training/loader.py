"""Batches in an order that is a pure function of (seed, batch number), so a run can go on from any batch."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from xlstm_apps.training.config import FitConfig


class BatchLoader:
    """Endless walk over a data set, cut into epochs of `steps_per_epoch` batches.

    Batch number `g` (counted over all epochs) is batch `g % n` of pass `g // n` through the data, where every pass has
    its own permutation drawn from (seed, pass). Epochs shorter than a pass go on where the last one ended, and
    every example is seen once before any is seen twice. The last, smaller batch of a pass is kept.

    The data set gives whole batches through `__getitems__(indices)` or single examples through `__getitem__`, which are
    then collated. One that changes its examples at random has `draw(indices, generator)`, which a shuffled walk calls
    instead, with a NumPy generator that follows from (seed, batch number). In worker processes all other randomness is
    seeded by these, too.

    Args:
        dataset: Examples to draw from; not empty.
        batch_size: Examples per batch.
        seed: Seed of the order.
        shuffle: False keeps the order of the data set, as for validation.
        steps_per_epoch: Batches per epoch; None: one whole pass.
        num_workers: Worker processes.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = False,
        steps_per_epoch: int | None = None,
        num_workers: int = 0,
    ):
        self.dataset, self.batch_size, self.seed, self.shuffle = dataset, batch_size, seed, shuffle
        self.num_workers = num_workers
        self.batches_per_pass = -(-len(dataset) // batch_size)
        assert self.batches_per_pass > 0, "the recipe checks that there are examples"
        self.steps_per_epoch = steps_per_epoch or self.batches_per_pass
        self.position = 0  # number of the next batch, over all epochs

    @classmethod
    def shuffled(cls, dataset: Dataset, config: FitConfig, seed: int) -> Self:
        """Training batches as `config` has them; its batch size is resolved."""
        assert config.batch_size is not None, "resolved by the plan"
        return cls(
            dataset,
            config.batch_size,
            seed=seed,
            shuffle=True,
            steps_per_epoch=config.steps_per_epoch,
            num_workers=config.num_workers,
        )

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[Any]:
        # A walk that was restored in mid-epoch yields what is left of that epoch. The position moves on delivery, not
        # when a worker fetches ahead.
        start = self.position if self.shuffle else 0
        stop = (start // self.steps_per_epoch + 1) * self.steps_per_epoch
        source = _Fetch(self.dataset, self.seed, self.num_workers > 0, self.shuffle and hasattr(self.dataset, "draw"))
        loader = DataLoader(
            source,
            batch_size=None,
            sampler=self._plan(start, stop),
            num_workers=self.num_workers,
            generator=torch.Generator().manual_seed(self.seed),  # else the global random state would move on
        )
        for number, batch in enumerate(loader, start):
            self.position = number + 1
            yield batch

    def _plan(self, start: int, stop: int) -> list[tuple[int, list[int]]]:
        plan, order, current = [], np.arange(len(self.dataset)), None
        for number in range(start, stop):
            lap, batch = divmod(number, self.batches_per_pass)
            if self.shuffle and lap != current:
                order, current = np.random.default_rng((self.seed, lap)).permutation(len(self.dataset)), lap
            plan.append((number, order[batch * self.batch_size : (batch + 1) * self.batch_size].tolist()))
        return plan

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


class _Fetch(Dataset):
    """Examples of a numbered batch, with the worker's randomness set by that number, or drawn by it."""

    def __init__(self, dataset: Dataset, seed: int, in_worker: bool, drawn: bool):
        self.dataset, self.seed, self.in_worker, self.drawn = dataset, seed, in_worker, drawn

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, numbered: tuple[int, Sequence[int]]) -> Any:
        number, indices = numbered
        if self.in_worker:
            seed_everywhere(self.seed, number)
        if self.drawn:
            return self.dataset.draw(indices, np.random.default_rng((self.seed, number)))
        if hasattr(self.dataset, "__getitems__"):
            return self.dataset.__getitems__(indices)
        return default_collate([self.dataset[index] for index in indices])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Weights drawn inside follow from the seed; the global random state is left alone."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)  # that of the CPU, where weights are drawn, and no other
        yield


def seed_everywhere(seed: int, number: int) -> None:
    """Set the random state of Python, NumPy and torch from (seed, number)."""
    words = np.random.SeedSequence((seed, number)).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))
