"""What the benchmarks of sequence models share: options, training by steps, order of the work, summaries."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from grid import RESULTS, Before, Grid, Row, arguments, devices, finish, show
from sequence_networks import NETWORKS, SIZES


def options_of(
    doc: str | None, data: Path, rates: tuple[float, ...], seeds: int, networks: tuple[str, ...], known: tuple[str, ...]
) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark of sequence models, the networks among `known`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data, help="what dna_data.py or protein_data.py made")
    parser.add_argument("--networks", nargs="+", default=list(networks), choices=known)
    arguments(parser, rates, seeds)
    return parser


def line_options(
    doc: str | None, data: Path, *, size: str, steps: int, symbols: int, context: int, rate: float, looks: int,
    targets: str, number: int, draws: str, times: int,
) -> argparse.ArgumentParser:  # fmt: skip
    """A parser with the options of one model that is trained on lines of relatives, and asked behind some of them.

    Args:
        doc: Help of the script.
        data: Where its data lies.
        size: As the other numbers up to `looks`, those of training.
        targets: What `--targets` counts, and `number` how many there are.
        draws: What `--draws` counts, and `times` how many there are.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=data, help="what molecule_data.py or protein_data.py made")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the rows, and of the model")
    parser.add_argument("--size", default=size, choices=SIZES, help="of a model from scratch")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--symbols", type=int, default=symbols, help="tokens per step")
    parser.add_argument("--context", type=int, default=context, help="tokens of a line")
    parser.add_argument("--rate", type=float, default=rate, help="peak learning rate")
    parser.add_argument("--looks", type=int, default=looks, help="looks at validation")
    parser.add_argument("--targets", type=int, default=number, help=targets)
    parser.add_argument("--draws", type=int, default=times, help=draws)
    parser.add_argument("--seed", type=int, default=0)
    devices(parser)
    return parser


def steps_of(total: int, looks: int) -> tuple[int, Row]:
    """Steps between two looks at validation, and what `FitConfig` makes of that."""
    per_look = max(1, total // looks)
    return per_look, {"max_epochs": -(-total // per_look), "max_steps": total, "patience": None}


class LanguageBenchmark:
    """Networks of one size on the same batches, beside models that count.

    Args:
        grid: One group a network.
        given: Options that say how all networks are trained.
        markov: Makes the rows of the models that count.
        shown: Fields of the summary.
    """

    def __init__(
        self,
        grid: Grid,
        given: tuple[str, ...],
        markov: Callable[[argparse.Namespace], list[Row]],
        shown: tuple[str, ...],
    ) -> None:
        self.grid, self.given, self.markov, self.shown = grid, given, markov, shown

    def group_of(self, options: argparse.Namespace, network: str) -> Row:
        return {"network": network, **{name: getattr(options, name) for name in self.given}}

    def summary(self, options: argparse.Namespace) -> None:
        """Means and deviations over the seeds, at the learning rate that validation chose."""
        rows, lines = self.grid.rows(options.output), []
        for network in dict.fromkeys(row["network"] for row in rows):
            rate, own = None, [row for row in rows if row["network"] == network]
            if network in NETWORKS:
                group = self.group_of(options, network)
                rate, own = self.grid.chosen(rows, group, options.rates, options.seeds)
            lines.append((network, rate, own))
        show(lines, self.shown)

    def measure(self, options: argparse.Namespace) -> int:
        if not options.markov:
            return self.grid.measure(options, [self.group_of(options, network) for network in options.networks])
        found = self.markov(options)
        names = {row["network"] for row in found}
        others = [row for row in self.grid.rows(options.output) if row["network"] not in names]
        self.grid.write(options.output, others + found)
        return 0

    def main(self, parser: argparse.ArgumentParser, size: str, steps: int) -> None:
        parser.add_argument("--size", default=size, choices=SIZES)
        parser.add_argument("--steps", type=int, default=steps)
        parser.add_argument("--context", type=int, default=512, help="symbols read at a time, at most")
        parser.add_argument("--markov", action="store_true", help="only the models that count")
        finish(parser, self.summary, self.measure)


class TaskBenchmark:
    """Predictions of several tasks by networks, beside models that are solved for and have no learning rate.

    Args:
        grid: One group a task and network.
        tasks: All there are.
        networks: All there are.
        solved: Those without a learning rate.
        given: Fields of a group, by options and network.
        shown: Fields of the summary.
        left_out: Tasks and networks that do not go together.
    """

    def __init__(
        self,
        grid: Grid,
        tasks: tuple[str, ...],
        networks: tuple[str, ...],
        solved: tuple[str, ...],
        given: Callable[[argparse.Namespace, str], Row],
        shown: tuple[str, ...],
        left_out: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.grid, self.tasks, self.networks, self.solved = grid, tasks, networks, solved
        self.given, self.shown, self.left_out = given, shown, left_out

    def group_of(self, options: argparse.Namespace, task: str, network: str) -> Row:
        given = self.given(options, network)
        return {"task": task, "network": network, **(dict.fromkeys(given, "") if network in self.solved else given)}

    def rates_of(self, options: argparse.Namespace, network: str) -> list[float]:
        return [0.0] if network in self.solved else options.rates

    def measure(self, options: argparse.Namespace, before: Before | None = None) -> int:
        """Make the rows of all tasks; those that are solved for first."""
        failed = 0
        for solved in (True, False):
            networks = [name for name in options.networks if (name in self.solved) == solved]
            groups = [self.group_of(options, task, name) for task in options.tasks for name in networks
                      if (task, name) not in self.left_out]  # fmt: skip
            if groups:
                own = argparse.Namespace(**{**vars(options), "rates": self.rates_of(options, networks[0])})
                failed += self.grid.measure(own, groups, None if solved else before)
        return failed

    def summary(self, options: argparse.Namespace) -> None:
        """Means and deviations over the seeds, at the learning rate that validation chose."""
        rows = self.grid.rows(options.output)
        lines = [
            (f"{task} {name}", *self.grid.chosen(
                rows, self.group_of(options, task, name), self.rates_of(options, name), options.seeds
            ))
            for task in options.tasks for name in self.networks
        ]  # fmt: skip
        show(lines, self.shown)

    def main(
        self, parser: argparse.ArgumentParser, before: Callable[[argparse.Namespace], Before | None] = lambda _: None
    ) -> None:
        """Work as the arguments say."""
        parser.add_argument("--tasks", nargs="+", default=list(self.tasks), choices=self.tasks)
        finish(parser, self.summary, lambda options: self.measure(options, before(options)))
