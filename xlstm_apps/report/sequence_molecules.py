"""What a model of molecules makes up after its training: how much of it is molecules, and what they are like."""

from __future__ import annotations

import importlib.util

import numpy as np
import polars as pl

from xlstm_apps.datasets.molecules.properties import MOSES_PROPERTIES

from .blocks import Block, Notice, Section
from .molecule_blocks import MoleculeSet, histograms, structures
from .numbers import count, percent
from .run import Run

FILE = "evaluation/molecules.csv"
DRAWN, HELD_OUT = "drawn", "held-out"


def molecules(run: Run) -> Section | None:
    """The strings drawn freely: structures of those that are new, properties beside held-out molecules."""
    if not run.has(FILE):  # written for causal models of molecules
        return None
    frame = run.table(FILE, "set", "smiles", "molecule", "new", *MOSES_PROPERTIES, text=("set", "smiles"))
    if frame is None:
        return None
    drawn = frame.filter(pl.col("set") == DRAWN)
    if drawn.is_empty():
        run.absent[FILE] = "has no molecule that was drawn"
        return None
    found = drawn.filter(pl.col("molecule") == 1)
    distinct = found.unique("smiles", keep="first", maintain_order=True)
    new = distinct.filter(pl.col("new") == 1)
    lead = f"Of {count(len(drawn), 'string')} drawn freely {percent(len(found) / len(drawn), 1)} are molecules"
    if len(found):
        lead += f", {percent(len(distinct) / len(found), 1)} of them distinct"
        lead += f", {percent(len(new) / len(distinct), 1)} of these not in training"
    blocks: list[Block] = []
    if len(found) < len(drawn) / 2:
        text = "Train longer or on more molecules; sequence generate --valid draws molecules always."
        blocks.append(Notice(title="Most strings are no molecules.", text=text, tone="warning"))
    if importlib.util.find_spec("rdkit") is not None:
        picture = structures(new["smiles"].to_list(), caption="The first that are new.")
        blocks += [] if picture is None else [picture]
    sets = [_set(found, "made up")]
    if len(other := frame.filter(pl.col("set") == HELD_OUT)):
        sets.append(_set(other, HELD_OUT))
    shown = histograms(sets)
    if shown is not None:
        lead += f". {shown.lead.removesuffix('.')}"
        blocks += shown.blocks
    return Section(id="molecules", title="What it makes up", lead=f"{lead}.", blocks=blocks)


def _set(frame: pl.DataFrame, name: str) -> MoleculeSet:
    values = {key: np.array(frame[key].fill_null(np.nan).to_list(), float) for key in MOSES_PROPERTIES}
    return MoleculeSet(name=name, smiles=frame["smiles"].to_list(), properties=values)
