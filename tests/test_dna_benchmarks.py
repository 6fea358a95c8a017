"""What the DNA benchmarks rest on: fair windows, near copies found and kept together, a grid that goes on."""

import os
import signal
import sys
import threading
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import dna_data as data
import dna_finetune as finetune
import dna_language as language
import grid
import grid_fit
import sequence_grid
import sequence_networks as networks


def bases(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(7, 11, count).astype(np.uint8)


def test_kmers_are_those_of_either_strand():
    ids = bases(40)
    ids[20] = data.N
    own, other = data.kmers(ids), data.kmers(data.reverse_complement(ids))
    np.testing.assert_array_equal(own, other[::-1])
    unknown = own == 2**63
    assert unknown.sum() == data.K and unknown[20 - data.K + 1 : 21].all()


def test_a_copy_on_the_other_strand_is_known():
    train, fresh = bases(400), bases(100, 1)
    held = np.concatenate([data.reverse_complement(train[100:200]), fresh])
    known = np.isin(data.kmers(held), data.kmers(train))
    share = data.overlap(known, np.array([[0, 100], [100, 200], [50, 150]]))
    assert share[0] == 1 and share[1] == 0 and 0.3 < share[2] < 0.5


def test_training_holds_nothing_of_what_is_tested():
    genome = np.arange(1000) % 4 + 7
    part = data.parts(genome.astype(np.uint8))
    assert {name: len(ids) for name, ids in part.items()} == {"train": 851, "val": 50, "test": 100}
    assert (part["train"] == data.N).sum() == 1


@pytest.mark.parametrize("mode", ["windows", "sliding", "carried"])
@pytest.mark.parametrize("length", [64, 100, 257])
def test_every_base_is_scored_once(mode, length):
    starts, skip, size = language.plan(length, 16, mode)
    times = np.zeros(length, int)
    for start, unread in zip(starts, skip, strict=True):
        assert start + size <= length
        times[start + unread : start + size] += 1
        assert mode != "sliding" or start == 0 or unread >= 8
    assert (times >= 1).all() and (mode == "carried" or (times == 1).all())


def test_all_networks_draw_the_same_windows():
    draws = [language.Draws(bases(300), 8, 20, seed=3).__getitems__([0, 5])["ids"] for _ in range(2)]
    assert (draws[0] == draws[1]).all()


def test_near_copies_stay_on_one_side():
    group, label = np.repeat(np.arange(100), 3), np.repeat(np.arange(100) % 2, 3)
    names = finetune.split(group, label, seed=1)
    assert all(len(set(names[group == g])) == 1 for g in range(100))
    assert {name: int((names == name).sum()) for name in ("train", "val", "test")} == pytest.approx(
        {"train": 210, "val": 30, "test": 60}, abs=6
    )
    overlapping = bases(120)
    ids = np.stack([overlapping[:80], overlapping[10:90], data.reverse_complement(overlapping[20:100]), bases(80, 9)])
    found = data.clusters(ids)
    assert found[0] == found[1] == found[2] != found[3]


def test_measures_of_classes_are_those_of_scikit_learn():
    from sklearn.metrics import matthews_corrcoef, roc_auc_score

    draw = np.random.default_rng(0)
    truth, p = draw.integers(0, 2, 50), draw.random(50)
    found = finetune.judged(truth, p)
    assert found["mcc"] == pytest.approx(matthews_corrcoef(truth, p > 0.5))
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, p))


RATES = [1e-3, 2e-3, 4e-3, 8e-3]


def cells(found: list[dict]) -> list[tuple]:
    return [(cell["network"], cell["learning_rate"], cell["seed"]) for cell in found]


def trained(network: str, **bits: float) -> list[dict]:
    """Rows at seed 0, by thousandths of the learning rate."""
    options = Namespace(size="2m", steps=5, batch=2, context=16)
    group = language.BENCHMARK.group_of(options, network)
    rates = {f"r{round(1000 * rate)}": rate for rate in RATES}
    return [{**group, "learning_rate": rates[name], "seed": 0, "val_bits": value} for name, value in bits.items()]


def test_the_grid_is_searched_from_its_middle_to_where_it_gets_no_lower():
    grid, (group,) = language.GRID, trained("lstm", r4=0)
    group = {name: group[name] for name in ("network", "size", "steps", "batch", "context")}

    def missing(**bits: float) -> list[float]:
        rows = trained("lstm", **bits)
        found = [c["learning_rate"] for c in grid.todo(rows, [group], RATES, 1, set()) if "val_bits" not in c]
        assert (grid.rate(rows, group, RATES) is None) == bool(found)
        return found

    assert missing() == [4e-3, 8e-3, 2e-3] and missing(r4=1.9) == [8e-3, 2e-3]
    assert missing(r4=1.9, r8=1.8) == [] and missing(r4=1.9, r2=1.8, r8=1.95) == [1e-3]
    rows = trained("lstm", r4=1.9, r2=1.8, r1=1.7, r8=1.95)
    assert grid.rate(rows, group, RATES) == 1e-3
    assert grid.rate(trained("lstm", r1=1.7, r2=1.8), group, RATES) is None  # its middle is not known


def test_what_is_worked_on_first_is_of_most_use(tmp_path):
    grid = language.GRID
    rows = trained("lstm", r4=1.8, r2=1.9, r8=1.9) + trained("xlstm", r4=1.9)
    groups = [{k: v for k, v in rows[n].items() if k not in ("learning_rate", "seed", "val_bits")} for n in (3, 0)]
    left = grid.todo(rows, groups, RATES, 2, set())
    assert cells(left) == [("lstm", 4e-3, 0), ("xlstm", 8e-3, 0), ("xlstm", 2e-3, 0), ("lstm", 4e-3, 1)]
    assert [("val_bits" in cell) for cell in left] == [True, False, False, False]
    waiting = {grid.cell({**groups[1], "learning_rate": 1e-3, "seed": 0})}  # may be lower than what is known
    assert cells(grid.todo(rows, groups, RATES, 2, set(), waiting)) == [("xlstm", 8e-3, 0), ("xlstm", 2e-3, 0)]
    rows[0]["test_windows"] = 1.85
    grid.write(tmp_path, rows)
    assert cells(grid.todo(grid.rows(tmp_path), groups, RATES, 2, {grid.cell(left[1])})) == [
        ("xlstm", 2e-3, 0), ("lstm", 4e-3, 1)
    ]  # fmt: skip


def test_a_cell_is_trained_then_tested_where_it_was_chosen(tmp_path):
    options = Namespace(folder=tmp_path, until=np.inf, threads=1)
    made = []

    def run(_: Namespace, cell: dict) -> dict:
        made.append(cell)
        return {**cell, "loss": 1.0}

    def test(_: Namespace, row: dict) -> dict:
        return {"tested": row["loss"] + 1}

    assert grid._work(run, None, options, {"seed": 0}, "loss") == {"seed": 0, "loss": 1.0}
    assert grid._work(run, test, options, {"seed": 0, "loss": 3.0}, "loss")["tested"] == 4.0 and len(made) == 1
    gone = Namespace(**{**vars(options), "folder": tmp_path / "none"})  # nothing is left to be tested
    assert grid._work(run, test, gone, {"seed": 0, "loss": 3.0}, "loss")["tested"] == 2.0 and len(made) == 2
    assert grid._work(run, test, Namespace(**{**vars(gone), "until": 0}), {"seed": 0}, "loss") == {"seed": 0, "loss": 1}


def test_all_is_made_and_what_waits_for_another_work_comes_behind_it(tmp_path, monkeypatch):
    made, started = [], threading.Event()

    def run(options: Namespace, cell: dict) -> dict:
        made.append((cell["network"], cell["learning_rate"], cell["seed"]))
        started.set()
        (options.folder).mkdir(parents=True)
        if cell["network"] == "bad":
            raise OSError("no")
        return {**cell, "loss": abs(cell["learning_rate"] - 2) + cell["seed"]}

    def work(run, test, options, cell, judged):  # as in a process of its own, where torch is set up too
        try:
            row = cell if judged in cell else run(options, cell)
        except OSError as error:
            return str(error)
        return row if test is None else {**row, **test(options, row)}

    def first(options: Namespace) -> None:
        assert started.wait(60)
        made.append("first")

    monkeypatch.setattr(grid, "ProcessPoolExecutor", lambda workers, context: ThreadPoolExecutor(workers))
    monkeypatch.setattr(grid, "_work", work)
    own = grid.Grid(
        name="some.csv", fields=("network", "learning_rate", "seed", "loss", "tested"),
        key=("network", "learning_rate", "seed"), group=("network",), judged="loss", run=run, told=str,
        test=lambda options, row: {"tested": 1}, tested="tested",
    )  # fmt: skip
    options = Namespace(
        output=tmp_path, kept=None, rates=[1.0, 2.0, 4.0, 8.0], seeds=2, workers=2, seconds=1e9, precision="32-true",
        accelerator="cpu",
    )  # fmt: skip
    groups = [{"network": name} for name in ("late", "bad", "early")]
    before = grid.Before(first, lambda group: group["network"] == "late")
    assert own.measure(options, groups, before) == 3
    assert made.index("first") < min(n for n, cell in enumerate(made) if cell[0] == "late")
    rows = {own.cell(row): row["tested"] for row in own.rows(tmp_path)}
    tested = {("2", "0"): "1", ("2", "1"): "1", ("4", "0"): "", ("8", "0"): "", ("1", "0"): ""}
    assert rows == {(name, *cell): done for name in ("late", "early") for cell, done in tested.items()}
    assert not list((tmp_path / "cells").glob("some_late*")) and list((tmp_path / "cells").glob("some_bad*"))


class Numbers:
    """Twelve numbers; asks the process to stop when number 7 is drawn for the first time."""

    def __init__(self, stops: bool) -> None:
        self.stops = stops

    def __len__(self) -> int:
        return 12

    def __getitems__(self, indices: list[int]):
        import torch

        if self.stops and 7 in indices:
            self.stops = False
            os.kill(os.getpid(), signal.SIGTERM)
        return torch.tensor(indices, dtype=torch.float32)[:, None] / 12


def test_a_cell_that_is_stopped_goes_on_to_the_same_end(tmp_path):
    import lightning.pytorch as pl
    import torch

    from xlstm_apps.training import BatchLoader

    class Line(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.linear = torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            return (self.linear(batch) - 2 * batch).square().mean()

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.training_step(batch, batch_idx))

    def fitted(folder: Path, numbers: Numbers, until: float = np.inf):
        options = Namespace(folder=folder, until=until, accelerator="cpu", precision="32-true")
        module, (per_look, how) = Line(), sequence_grid.steps_of(18, 3)
        train = BatchLoader(numbers, 2, shuffle=True, steps_per_epoch=per_look)
        row = grid_fit.fit_cell(
            options, {"learning_rate": 0.1, "seed": 0}, module, train, BatchLoader(Numbers(False), 12), **how
        )[1]
        other = Line()
        assert grid_fit.restore(options, other) == "cpu"
        assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))
        return row["best_step"], module.linear.weight.item()

    whole = fitted(tmp_path / "whole", Numbers(False))
    with pytest.raises(grid.Late, match="goes on"):
        fitted(tmp_path / "parts", Numbers(True))
    assert fitted(tmp_path / "parts", Numbers(False)) == whole
    with pytest.raises(grid.Late):
        fitted(tmp_path / "late", Numbers(False), until=0)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_are_of_one_size(name):
    import torch

    with torch.device("meta"):
        size = "2m" if name == "xlstm-wide" else "500k"  # in smaller ones the taps weigh more
        counts = [networks.build(other, size)[1] for other in (name, "xlstm-mlstm")]
    assert counts[0] == pytest.approx(counts[1], rel=0.02)
