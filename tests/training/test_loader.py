import random

import numpy as np
import torch
from toy import Points

from xlstm_apps.training import BatchLoader


class Numbers(torch.utils.data.Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitems__(self, indices):
        return torch.tensor(indices)


class Noisy(Numbers):
    """Examples with randomness of their own."""

    def __getitems__(self, indices):
        return torch.tensor([[i, random.random(), np.random.rand(), torch.rand(())] for i in indices])


class Drawn(Numbers):
    """Examples changed at random by a generator that is handed in."""

    def draw(self, indices, generator):
        return torch.tensor([[i, generator.random()] for i in indices])


def batches(loader, epochs=1):
    return [batch.tolist() for _ in range(epochs) for batch in loader]


def test_every_example_once_per_pass_and_the_small_batch_too():
    loader = BatchLoader(Numbers(10), 4, seed=1, shuffle=True)
    first, second = batches(loader), batches(loader)
    assert [len(b) for b in first] == [4, 4, 2]
    for epoch in (first, second):
        assert sorted(i for batch in epoch for i in batch) == list(range(10))
    assert first != second


def test_short_epochs_walk_on_through_the_pass():
    whole = batches(BatchLoader(Numbers(10), 4, seed=1, shuffle=True), epochs=4)
    short = batches(BatchLoader(Numbers(10), 4, seed=1, shuffle=True, steps_per_epoch=2), epochs=6)
    long = batches(BatchLoader(Numbers(10), 4, seed=1, shuffle=True, steps_per_epoch=4), epochs=3)
    assert whole == short == long


def test_goes_on_from_any_batch():
    whole = batches(BatchLoader(Numbers(10), 4, seed=1, shuffle=True, steps_per_epoch=2), epochs=3)
    for position in range(6):
        loader = BatchLoader(Numbers(10), 4, seed=1, shuffle=True, steps_per_epoch=2)
        loader.load_state_dict({"position": position})
        rest = batches(loader, epochs=3 - position // 2)
        assert rest == whole[position:]


def test_order_in_validation():
    loader = BatchLoader(Numbers(5), 2)
    assert batches(loader) == batches(loader) == [[0, 1], [2, 3], [4]]


def test_single_examples_are_collated():
    data = [(torch.ones(2), 3)] * 3
    x, y = next(iter(BatchLoader(data, 2)))
    assert x.shape == (2, 2) and y.tolist() == [3, 3]


def test_iterating_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    batches(BatchLoader(Numbers(10), 4, seed=1, shuffle=True))
    list(BatchLoader(Points(8), 4))
    assert torch.equal(before, torch.get_rng_state())


def test_augmentation_in_workers_depends_on_the_batch_number_alone():
    def make(workers):
        return BatchLoader(Noisy(9), 2, seed=1, shuffle=True, steps_per_epoch=3, num_workers=workers)

    whole = batches(make(2), epochs=2)
    resumed = make(1)
    resumed.load_state_dict({"position": 4})
    assert batches(resumed) == whole[4:]


def test_random_changes_follow_from_seed_and_batch_number():
    loader = BatchLoader(Drawn(10), 4, seed=1, shuffle=True)
    first, second = batches(loader), batches(loader)
    again = BatchLoader(Drawn(10), 4, seed=1, shuffle=True)
    again.position = 3  # as after a resume
    assert batches(again) == second and first != second
    assert batches(BatchLoader(Drawn(10), 4, seed=1)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
