"""What reading homologs is worth: perplexity by how many are shown, fitness of mutants, and time saved by a context.

    python benchmarks/protein_data.py                                                       # once: makes .protein
    python benchmarks/protein_families.py --train --size 2m --steps 2000 --symbols 65536 --output FOLDER    # one GPU
    python benchmarks/protein_families.py --train --steps 1200 --accelerator cpu --threads 1 --output FOLDER
    python benchmarks/protein_families.py --model FOLDER/families --output FOLDER

`--train` makes the model: families are the groups of similar proteins in the training part of UniProt; a line is a draw
of one of them in random order, each behind its begin token, as many as fit into `--context`; where a family has only
one member it stands alone. Nothing like the two families tested on is among them. The weights are those of the best of
`--looks` looks at the families of the validation part.

The other call writes protein_families.csv:

`in-context`: perplexity of a protein behind 0, 1, 2, ... relatives, as they are and with their residues shuffled: of
`uniprot`, families of the test part with four members and more, and of `relatives`, glycerol-1-phosphate dehydrogenases
with 13 % of their residues in common.
`fitness`: Spearman correlation of log p(mutant) - log p(wild type) with what was measured of beta-lactamase, behind
nothing and behind `variants`: other single mutants, drawn without looking at their measurements and not among those
that are scored. The data holds no other relatives of it.
`seconds`: 5,000 mutants behind a context that is read once, the prefix of the wild type being shared, and the same
where each reads everything: measured on `--alone` mutants and multiplied.
"""

from __future__ import annotations

import argparse
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from grid import Late, Row, precision, write
from grid_fit import facts, fit_cell
from protein_data import FOLDER, load
from sequence_grid import line_options, steps_of
from sequence_networks import stack

NAME = "protein_families.csv"
FIELDS = (
    "measure", "family", "control", "homologs", "targets", "residues", "perplexity", "spearman", "seconds",
    "measured_on", "parameters", "training_tokens", "precision", "device", "torch",
)  # fmt: skip
MEASURES = ("in-context", "fitness", "seconds")
LONGEST = 512
SHOWN = {"uniprot": (0, 1, 2, 3), "relatives": (0, 1, 2, 4, 8)}
MUTANTS = 5000
BATCH = 16


class Lines:
    """Draws of families: a data set of batches, each a function of the seed and its number."""

    def __init__(self, families: list[list[np.ndarray]], context: int, symbols: int, count: int, seed: int) -> None:
        self.families, self.context, self.rows, self.count = families, context, max(1, symbols // context), count
        self.seed, self.sizes = seed, np.array([len(family) for family in families], float)

    def __len__(self) -> int:
        return self.count

    def line(self, draw: np.random.Generator) -> np.ndarray:
        """Members of families, a begin token between them; a family counts by the root of its size: [context]."""
        chances, out, length = np.sqrt(self.sizes) / np.sqrt(self.sizes).sum(), [], 0
        while length <= self.context:
            family = self.families[draw.choice(len(self.families), p=chances)]
            for n in draw.permutation(len(family)):
                out += [np.zeros(1, np.uint8), family[n]]
                length += 1 + len(family[n])
                if length > self.context:
                    break
        return np.concatenate(out)[1 : self.context + 1]  # the model puts the first begin token itself

    def __getitems__(self, indices: list[int]) -> Any:
        import torch

        (index,) = indices
        draw = np.random.default_rng((self.seed, index))
        ids = np.stack([self.line(draw) for _ in range(self.rows)]).astype(np.int64)
        return {"ids": torch.from_numpy(ids), "weights": torch.from_numpy((ids < 24).astype(np.float32))}


def families_of(folder: Path, part: int, least: int = 1) -> list[list[np.ndarray]]:
    """Groups of similar proteins of a part, none of them like the families that are tested on."""
    proteins, facts = load(folder, "uniprot")
    rows, near = proteins.rows(), load(folder, "relatives")[1]["near"]
    found: dict[int, list[np.ndarray]] = {}
    for n in np.flatnonzero((facts["part"] == part) & ~near):
        if len(rows[n]) <= LONGEST:
            found.setdefault(int(facts["group"][n]), []).append(rows[n])
    return [family for family in found.values() if len(family) >= least]


def train(options: argparse.Namespace) -> None:
    """Write the model, whole or not at all."""
    import torch

    from xlstm_apps.biosequence.config import SequenceConfig
    from xlstm_apps.biosequence.model import SequenceModel
    from xlstm_apps.biosequence.module import SequenceModule
    from xlstm_apps.training import BatchLoader

    torch.manual_seed(options.seed)
    layers = replace(stack(options.size), rotary_base=500_000.0 if options.rotary else None)
    model = SequenceModel(SequenceConfig(alphabet="protein"), layers)
    started, (per_look, how) = time.monotonic(), steps_of(options.steps, options.looks)
    lines = Lines(families_of(options.data, 0), options.context, options.symbols, options.steps, options.seed)
    valid = Lines(families_of(options.data, 1), options.context, options.symbols, 8, options.seed + 1)
    options.folder, options.until = options.output / "families.partial", time.time() + options.seconds
    result, _ = fit_cell(
        options, {"learning_rate": options.rate, "seed": options.seed}, SequenceModule(model),
        BatchLoader(lines, 1, seed=options.seed, shuffle=True, steps_per_epoch=per_look),  # pyright: ignore
        BatchLoader(valid, 1),  # pyright: ignore
        weight_decay=0.1, **how,
    )  # fmt: skip
    for row in result.history:
        print(f"step {row['step']}: perplexity {math.exp(row['val_loss']):.3f}")
    path = options.output / "families"
    model.cpu().save_pretrained(path)
    tokens = options.steps * lines.rows * options.context
    (path / "training_tokens").write_text(str(tokens), encoding="utf-8")
    shutil.rmtree(options.folder)
    print(f"{path}: {tokens:,} tokens, {time.monotonic() - started:.0f} s")


def in_context(model: Any, family: str, sets: list[list[np.ndarray]], seed: int) -> list[Row]:
    """Perplexity of the last of each set behind some of the others, as they are and shuffled."""
    import torch

    from xlstm_apps.biosequence.infilling import lay_out_family

    rows = []
    for control in ("real", "shuffled"):
        for count in SHOWN[family]:
            total, residues = 0.0, 0
            for number, members in enumerate(sets):
                draw = np.random.default_rng((seed, number))
                order = draw.permutation(len(members) - 1)  # the first of it are shown whatever their number
                shown = [members[n] for n in order[:count]]
                if control == "shuffled":
                    shown = [draw.permutation(ids) for ids in shown]
                line = lay_out_family([(ids, []) for ids in [*shown, members[-1]]], model.alphabet)
                ids = torch.from_numpy(line.ids)[None].to(model.embedding.weight.device)
                with torch.inference_mode():
                    places = model.count_positions(ids[:, :-1])
                    logits = model(ids[:, :-1], **({} if places is None else {"positions": places}))
                asked = slice(-len(members[-1]), None)
                nll = torch.nn.functional.cross_entropy(logits[0, asked].float(), ids[0, 1:][asked], reduction="none")
                known = torch.from_numpy(members[-1].astype(np.int64) < 24)
                total, residues = total + nll.cpu()[known].double().sum().item(), residues + int(known.sum())
            value = math.exp(total / residues)
            print(f"in-context {family} {control} {count}: {value:.3f}", flush=True)
            rows.append(
                {
                    "measure": "in-context", "family": family, "control": control, "homologs": count,
                    "targets": len(sets), "residues": residues, "perplexity": value,
                }
            )  # fmt: skip
    return rows


def sets_of(options: argparse.Namespace, family: str) -> list[list[np.ndarray]]:
    """Families, or draws of a large one, the protein to be read last."""
    least, draw = max(SHOWN[family]) + 1, np.random.default_rng(options.seed)
    if family == "uniprot":
        return families_of(options.data, 2, least)
    members = [row for row in load(options.data, "relatives")[0].rows() if 200 <= len(row) <= LONGEST]
    targets = draw.choice(len(members), options.targets, replace=False)
    return [
        [members[n] for n in draw.choice(np.delete(np.arange(len(members)), t), least - 1, replace=False)]
        + [members[t]]
        for t in targets
    ]


class Lactamase:
    """Beta-lactamase, the mutants that are shown and those that are scored."""

    def __init__(self, options: argparse.Namespace) -> None:
        proteins, facts = load(options.data, "lactamase")
        self.wild, *self.mutants = proteins.rows()
        order = np.random.default_rng(options.seed).permutation(len(self.mutants))
        shown = options.draws * options.variants
        self.shown, self.scored = order[:shown], np.sort(order[shown:])
        self.asked, self.measured = [self.mutants[n] for n in self.scored], facts["score"][self.scored]


def fitness(model: Any, options: argparse.Namespace) -> list[Row]:
    """Correlation behind nothing and behind variants."""
    from scipy.stats import spearmanr

    from xlstm_apps.biosequence.family import read_homologs
    from xlstm_apps.biosequence.fitness import forward_scores

    data, count, rows = Lactamase(options), options.variants, []
    for draws, family in ((0, "none"), (options.draws, "variants")):
        contexts = [data.shown[n * count : (n + 1) * count] for n in range(draws)]
        read = read_homologs(model, [[data.mutants[n] for n in own] for own in contexts]) if draws else None
        found = [
            forward_scores(model, data.wild, data.asked, None if read is None else read.begin(model, n))
            for n in range(max(1, draws))
        ]
        rho = float(spearmanr(np.mean(found, 0), data.measured)[0])
        print(f"fitness {family}: Spearman {rho:.4f}", flush=True)
        rows.append(
            {"measure": "fitness", "family": family, "homologs": count if draws else 0, "targets": len(data.asked),
             "spearman": rho}
        )  # fmt: skip
    return rows


def seconds(model: Any, options: argparse.Namespace) -> list[Row]:
    """Time of mutants behind variants, with and without a context that is read once."""
    from xlstm_apps.biosequence.family import read_homologs
    from xlstm_apps.biosequence.fitness import forward_scores

    data, count = Lactamase(options), options.variants
    homologs, asked = [data.mutants[n] for n in data.shown[:count]], data.asked[:MUTANTS]
    # On a CPU the time of this process: what else runs there does not change it.
    clock = time.process_time if model.embedding.weight.device.type == "cpu" else time.monotonic
    everything(model, homologs, asked[:2])  # the first call is slower
    started = clock()
    forward_scores(model, data.wild, asked, read_homologs(model, [homologs]).begin(model))
    rows = [_timed("context read once", count, len(asked), len(asked), clock() - started)]
    started = clock()
    everything(model, homologs, asked[: options.alone])
    spent = (clock() - started) * len(asked) / options.alone
    return [*rows, _timed("all read each time", count, len(asked), options.alone, spent)]


def everything(model: Any, homologs: list[np.ndarray], mutants: list[np.ndarray]) -> np.ndarray:
    """log p of mutants, each behind all homologs read anew, in batches."""
    import torch

    from xlstm_apps.biosequence.infilling import lay_out_family

    out = []
    for first in range(0, len(mutants), BATCH):
        own = mutants[first : first + BATCH]
        lines = [lay_out_family([(ids, []) for ids in [*homologs, row]], model.alphabet).ids for row in own]
        ids = torch.from_numpy(np.stack(lines)).to(model.embedding.weight.device)
        nll = model.score(ids[:, 1:], torch.ones(ids[:, 1:].shape))
        out.append(-nll[:, -len(own[0]) :].sum(1).cpu().numpy())
    return np.concatenate(out)


def _timed(how: str, homologs: int, mutants: int, measured: int, seconds: float) -> Row:
    print(f"seconds, {how}: {seconds:.1f} for {mutants:,} mutants, measured on {measured:,}", flush=True)
    return {
        "measure": "seconds", "family": "variants", "control": how, "homologs": homologs, "targets": mutants,
        "seconds": seconds, "measured_on": measured,
    }  # fmt: skip


def measure(options: argparse.Namespace) -> None:
    import torch

    from xlstm_apps.biosequence.model import SequenceModel
    from xlstm_apps.core.size import count_weights

    model = SequenceModel.from_pretrained(str(options.model)).eval()
    device = "cuda" if options.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    model.to(device)
    tokens = options.model / "training_tokens"
    own = {
        "parameters": count_weights(model),
        "training_tokens": tokens.read_text(encoding="utf-8") if tokens.is_file() else "",
        **facts(argparse.Namespace(precision="32-true"), device),
    }
    rows: list[Row] = []
    for family in SHOWN if "in-context" in options.measures else ():
        rows += in_context(model, family, sets_of(options, family), options.seed)
    if "fitness" in options.measures:
        rows += fitness(model, options)
    if "seconds" in options.measures:
        rows += seconds(model, options)
    write(options.output / NAME, FIELDS, [row | own for row in rows])


def main() -> None:
    parser = line_options(
        __doc__, FOLDER, size="65k", steps=1200, symbols=4096, context=1024, rate=5e-3, looks=6,
        targets="held-out members of the large family", number=30,
        draws="contexts that fitness is averaged over", times=3,
    )  # fmt: skip
    parser.add_argument("--train", action="store_true", help="only make the model")
    parser.add_argument("--model", type=Path, help="folder of a causal model of proteins")
    parser.add_argument("--measures", nargs="+", default=list(MEASURES), choices=MEASURES)
    parser.add_argument("--rotary", action="store_true", help="positions as in the published models")
    parser.add_argument("--variants", type=int, default=8, help="variants of beta-lactamase in a context")
    parser.add_argument("--alone", type=int, default=64, help="mutants timed without a context that is read once")
    parser.add_argument("--seconds", type=float, default=1e9, help="of --train: stop then; the same command goes on")
    import torch

    options = parser.parse_args()
    if options.train == (options.model is not None):
        parser.error("give --train, or the --model that was trained")
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision("high")
    options.precision = precision(options)
    try:
        (train if options.train else measure)(options)
    except Late as late:
        raise SystemExit(str(late)) from None


if __name__ == "__main__":
    main()
