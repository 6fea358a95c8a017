"""What a predictor is made of where the user leaves it open: wider convolutions for residues of proteins."""

from dataclasses import replace

import numpy as np
import pytest

from xlstm_apps.biosequence import HeadConfig, SequenceConfig, get_alphabet
from xlstm_apps.biosequence.sizes import PREDICTOR, RESIDUE_TAPS
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.sequences import Spans
from xlstm_apps.estimators.sequence_fitting import plan_predictor
from xlstm_apps.estimators.sequence_memory import MemoryCorpus
from xlstm_apps.estimators.sequence_targets import Targets
from xlstm_apps.training import FitConfig


def planned(alphabet, per_symbol, backbone=PREDICTOR, start=None):
    first = get_alphabet(alphabet).definite[0]
    rows = [np.arange(first, first + 4, dtype=np.uint8)] * 6
    values = [np.arange(4) % 2 for _ in rows] if per_symbol else np.arange(6) % 2
    head = HeadConfig(task="classification", num_outputs=2, names=("a", "b"), per_symbol=per_symbol)
    corpus = MemoryCorpus(rows, get_alphabet(alphabet))
    return plan_predictor(
        corpus, {"train": Spans.whole(corpus)}, Targets(head, values), start=start, backbone=backbone,
        sequence=SequenceConfig(alphabet=alphabet, objective="masked"), fit=FitConfig(accelerator="cpu"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("alphabet", "per_symbol", "taps"),
    [("protein", True, RESIDUE_TAPS), ("protein", False, 4), ("dna", True, 4), ("dna", False, 4)],
)
def test_convolutions_suit_what_is_predicted(alphabet, per_symbol, taps):
    assert planned(alphabet, per_symbol).backbone.option("conv1d_kernel_size") == taps


def test_what_the_user_names_is_kept():
    for taps in (0, 4, 5):
        chosen = planned("protein", True, replace(PREDICTOR, conv1d_kernel_size=taps))
        assert chosen.backbone.conv1d_kernel_size == taps
    large = xLSTMConfig(family="xlstm-large", embedding_dim=32, num_blocks=1, direction="alternating")
    assert planned("protein", True, large).backbone == large


def test_a_trained_model_keeps_its_own():
    from xlstm_apps.biosequence import SequenceModel

    layers = xLSTMConfig(embedding_dim=16, num_blocks=1, direction="bidirectional")
    start = SequenceModel(SequenceConfig(alphabet="protein", objective="masked"), layers)
    assert planned("protein", True, start=start).backbone.option("conv1d_kernel_size") == 4
