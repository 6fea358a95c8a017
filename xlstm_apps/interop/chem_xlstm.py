"""Chem-xLSTM (Schmidinger et al. 2024, "Bio-xLSTM"): the language model of the package `xlstm`, mLSTM blocks, in one of
its classes with sLSTM as block 1.

Published as `init_arguments.json` and `model.pt`, names behind `model.`. That file says one head whatever the model
has, and the size of the vocabulary before new tokens were added: both are read off the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from xlstm_apps.interop.weights import Weights
from xlstm_apps.interop.xlstm import language_model

SOURCE = "chem-xlstm"
NAMES = {"model_dim": "embedding_dim", "n_layers": "num_blocks", "n_heads": "num_heads"}
UNTOLD = ("vocab_size", "dropout")  # the dropout stated never reaches the blocks of the original


def load_chem(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """Chem-xLSTM: token ids [B, T] to logits [B, T, V]; names of options as there, or as in the package `xlstm`."""
    if isinstance(config.get("config"), Mapping):  # beside a description of the source
        config = config["config"]
    stated = {NAMES.get(name, name): value for name, value in config.items() if name not in UNTOLD}
    if config.get("n_heads") == 1:
        stated["num_heads"] = config.get("num_heads")
    return language_model(stated, Weights(tensors, "token_embedding.weight", SOURCE))
