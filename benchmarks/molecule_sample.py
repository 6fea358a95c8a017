"""What a model trained on the sample of molecules makes up, freely and under the constraint, judged as MOSES does.

    xlstm-apps sequence train --config wehi-molecules --run_dir runs/wehi
    python benchmarks/molecule_sample.py runs/wehi

Novelty is against the training part; SNN, Frag, Scaf and distances are against the test part of the run. Beside them
stand as many molecules drawn from training, and n-gram models of SMILES tokens of the same training part.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch

from xlstm_apps.biosequence.alphabets import SMILES
from xlstm_apps.biosequence.smiles_validity import ValidSmiles
from xlstm_apps.biosequence.tokenizer import Tokenizer
from xlstm_apps.datasets.molecules.metrics import Reference, compare_sets, read_valid
from xlstm_apps.estimators.sequence_generation import generate_sequences
from xlstm_apps.estimators.sequence_saved import language_model
from xlstm_apps.recipes._sequence_evaluate import draw, parts_of_run

RESULTS = Path(__file__).parent / "results" / "molecule_sample.csv"
BACK = (3, 6)


def ngram(training: list[str], back: int, count: int, seed: int) -> list[str]:
    """Strings drawn from counts of the token behind the last `back` ones: what memory alone makes."""
    tokenizer, rng = Tokenizer(SMILES), np.random.default_rng(seed)
    followers: dict[tuple[int, ...], list[int]] = {}
    for text in training:
        ids = [*[SMILES.bos] * back, *tokenizer.encode(text), SMILES.eos]
        for at in range(back, len(ids)):
            followers.setdefault(tuple(ids[at - back : at]), []).append(ids[at])
    out = []
    for _ in range(count):
        ids = [SMILES.bos] * back
        while len(ids) < 200 and ids[-1] != SMILES.eos:
            ids.append(int(rng.choice(followers[tuple(ids[-back:])])))
        out.append(tokenizer.decode(ids))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    training, test = parts_of_run(Path(options.run))
    assert test is not None
    model = language_model(options.run, "cpu", verb="generate")
    reference, known = Reference.of(read_valid(test)), set(training)
    sets: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for name, valid in (("xlstm", False), ("xlstm --valid", True)):
        started = time.process_time()
        batches = generate_sequences(
            model, [""], per_prompt=options.count, max_length=150, seed=options.seed, valid=valid
        )
        sets[name] = [made.text for batch in batches for made in batch]
        seconds[name] = time.process_time() - started
    for back in BACK:
        sets[f"counts of {back} tokens"] = ngram(training, back, options.count, options.seed)
    sets["drawn from training"] = draw(training, options.count, np.random.default_rng(options.seed))
    rows = []
    for name, made in sets.items():
        for value in compare_sets(read_valid(made), training=known, reference=reference):
            rows.append((name, value.metric, f"{value.value:.4f}", value.n))
        if name in seconds:
            rows.append((name, "cpu_seconds", f"{seconds[name]:.1f}", len(made)))
    taken = ValidSmiles()
    rows.append(
        ("test molecules", "accepted_by_constraint", f"{np.mean([taken.accepts(s) for s in test[:500]]):.4f}", 500)
    )
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", "metric", "value", "n"])
        writer.writerows(rows)
    print(RESULTS.read_text())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
