"""One function for every kind of published checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from xlstm_apps.interop import chem_xlstm, dna_xlstm, large, prot_xlstm, vision_lstm, xlstm

Loader = Callable[[Mapping[str, Any], Mapping[str, Tensor]], nn.Module]

SOURCES: dict[str, Loader] = {
    "xlstm-blockstack": xlstm.load_block_stack,
    "xlstm-lm": xlstm.load_language_model,
    "xlstm-large": large.load_large,
    "hf-xlstm": large.load_huggingface,
    "dna-xlstm": dna_xlstm.load_dna,
    "prot-xlstm": prot_xlstm.load_protein,
    "chem-xlstm": chem_xlstm.load_chem,
    "vision-lstm": vision_lstm.load_vision,
}


def load_reference(source: str, config: Mapping[str, Any], state_dict: Mapping[str, Any]) -> nn.Module:
    """Build the module that answers as someone else's checkpoint did.

    Args:
        source: Where it is from:
            "xlstm-blockstack" (`xLSTMBlockStack` of the package `xlstm`; features to features),
            "xlstm-lm" (`xLSTMLMModel` of the package `xlstm`), "xlstm-large" (`xLSTMLarge` of the same),
            "hf-xlstm" (`xLSTMForCausalLM` of transformers), "dna-xlstm" (DNA-xLSTM, causal or masked, with or without
            parameter sharing between the strands), "prot-xlstm" (Prot-xLSTM; called with `position_ids` too),
            "chem-xlstm" (Chem-xLSTM), "vision-lstm" (Vision-LSTM, version 1 or 2, as trained or as in torch.hub; images
            to logits). The others map ids to logits, the causal ones `generate`.
        config: The original constructor's arguments, nested as there or flat (`mlstm_proj_factor`, ...); for "hf-xlstm"
            what `config.json` holds; for "dna-xlstm" also `legacy_head_flip` (False: exactly equivariant, unlike the
            published models with several heads). For "vision-lstm" it may be empty, but must say what weights do not
            tell: `stride` where it is not the patch size.
        state_dict: Tensors under their original names, behind any prefix. Where some stand under `sd.` (a file that
            keeps inputs and outputs beside the weights), only those count. A Lightning checkpoint may be given whole.

    Returns:
        A module in evaluation mode, with single-precision weights.

    Raises:
        ValueError: An unknown source, a config that contradicts the weights or asks for what is not supported, a tensor
            that is left over, missing or of the wrong shape.
    """
    if source not in SOURCES:
        raise ValueError(f"cannot load from {source!r}; supported are {', '.join(SOURCES)}")
    if isinstance(state_dict.get("state_dict"), Mapping):
        state_dict = state_dict["state_dict"]
    weights = {key: tensor for key, tensor in state_dict.items() if key.startswith("sd.")} or state_dict
    return SOURCES[source](config, weights).eval()
