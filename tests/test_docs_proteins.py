"""The page on proteins: every block of it runs, in order, on two small families."""

import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl

from xlstm_apps import cli
from xlstm_apps.biosequence.family import family_facts

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "proteins.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, flags=re.DOTALL)
SMALL = ["--fit.max_epochs", "1", "--backbone.embedding_dim", "16", "--backbone.num_blocks", "1", "--data.leakage",
         "false", "--backbone.num_heads", "2", "--data.context_length", "128"]  # fmt: skip


def family(rng: np.random.Generator, size: int, length: int) -> list[str]:
    """Relatives of one protein."""
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    first = rng.choice(letters, length)
    return ["".join(np.where(rng.random(length) < 0.4, rng.choice(letters, length), first)) for _ in range(size)]


def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, wild = np.random.default_rng(0), "MKTAYIAKQRQISFVKSHFSRQLEERLG"
    Path("families").mkdir()
    for name, sequences in (("a.fa", family(rng, 30, 40)), ("b.a3m", [wild, *family(rng, 30, len(wild))])):
        Path("families", name).write_text("".join(f">{name}{n}\n{text}\n" for n, text in enumerate(sequences)))
    near = [wild[:n] + "A" + wild[n + 1 :] for n in (0, 9, 20)]
    with Path("families", "b.a3m").open("a") as file:
        file.write("".join(f">near{n}\n{text[:14]}{'W' * 14}\n" for n, text in enumerate(near)))
    Path("wild_type.fa").write_text(f">wt\n{wild}\n")
    rows = [(f"{wild[n]}{n + 1}{alt}", wild[:n] + alt + wild[n + 1 :]) for n, alt in ((1, "G"), (8, "W"), (15, "A"))]
    head = "mutant,mutated_sequence,DMS_score\n"
    Path("mutants.csv").write_text(head + "".join(f"{a},{b},{n}\n" for n, (a, b) in enumerate(rows)))
    names: dict = {}
    for kind, block in BLOCKS:
        if kind == "python":
            exec(block, names)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            program, *argv = shlex.split(line)
            assert program == "xlstm-apps"
            cli.run(argv + (SMALL if argv[1] == "train" else []))
    scored = pl.read_csv("scored.csv")
    assert set(re.findall(r"^\| `(xlstm\w+)` \|", TEXT, flags=re.MULTILINE)) == {*scored.columns[3:]}
    assert scored["xlstm_score"].null_count() == 0 and len(family_facts("family.state.safetensors")["contexts"]) == 3
    assert pl.read_csv("filled.tsv", separator="\t")["sequence"].str.starts_with("MKT").all()
    assert Path("map/scan.html").is_file() and Path("made.fa").read_text().count(">") == 4
    assert names["table"].shape == (16, 20) and len(names["filled"]) == 3 and names["nll"].shape == (16,)
