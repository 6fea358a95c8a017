"""The page on variants and scans: every block of it runs, and its tables name what there is."""

import re
import shlex
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from xlstm_apps import cli
from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets.sequences.variants import Status

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "sequence-variants.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, flags=re.DOTALL)


def test_every_block_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genome = "".join(np.random.default_rng(0).choice(list("ACGT"), 300))
    Path("genome.fa").write_text(f">chr1\n{genome}\n")
    rows = [f"chr1\t{place}\t.\t{genome[place - 1]}\t{genome[place - 1]}A\n" for place in (1, 150, 300)]
    Path("variants.vcf").write_text("#CHROM\tPOS\tID\tREF\tALT\n" + "".join(rows))
    model = SequenceModel(SequenceConfig(), xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2))
    model.save_pretrained("runs/k12/model")
    Path("runs/k12/run.json").write_text('{"task": "sequence"}')
    Path("runs/k12/data_summary.json").write_text('{"context_length": 64}')
    names: dict = {}
    for kind, block in BLOCKS:
        if kind == "python":
            exec(block, names)
            continue
        for line in block.splitlines():
            program, *argv = shlex.split(line)
            assert program == "xlstm-apps"
            cli.run(argv)
    table = pl.read_csv("effects.tsv", separator="\t")
    assert names["table"].columns == table.columns and len(table) == 3
    assert Path("scan/scan.html").is_file() and len(list(Path("scan").glob("*.svg"))) == 2
    told = re.findall(r"^\| (`[^|]*?) \|", TEXT, flags=re.MULTILINE)
    known = set(table.columns) | set(get_args(Status)) - {"ok"}
    assert {name for cell in told for name in re.findall(r"`(\w+)`", cell)} == known
