"""The page on using sequence models: every block of it runs, in order, on a small model and a small genome."""

import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl

from xlstm_apps import cli
from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.core import xLSTMConfig

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "sequence-using.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, flags=re.DOTALL)


def test_every_block_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("genome.fa").write_text(f">c1\n{''.join(rng.choice(list('ACGTN'), 900))}\n")
    Path("genes.bed").write_text("c1\t700\t760\tgeneA\t0\t+\nc1\t10\t90\tgeneB\t0\t-\n")
    model = SequenceModel(SequenceConfig(), xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2))
    model.save_pretrained("runs/k12/model")
    Path("runs/k12/run.json").write_text('{"task": "sequence"}')
    names: dict = {}
    for kind, block in BLOCKS:
        if kind == "python":
            exec(block, names)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            program, *argv = shlex.split(line)
            assert program == "xlstm-apps"
            cli.run(argv)
    columns = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|.*?\|", TEXT, flags=re.MULTILINE))))
    assert columns == set(pl.read_csv("genes.tsv", separator="\t").columns)
    assert len(Path("genes.bedgraph").read_text().splitlines()) <= 141 and Path("made.fa").read_text().count(">") == 5
    assert pl.read_parquet("bases.parquet").shape == (900, 3) and set(np.load("genes.npz")["name"]) == {
        "geneA",
        "geneB",
    }
    assert names["nll"].isnan().tolist().index(True) == 8 and names["vectors"].shape == (2, 16)
    assert names["continued"][0].startswith("ATGACC") and names["reference"] != names["alternative"]
