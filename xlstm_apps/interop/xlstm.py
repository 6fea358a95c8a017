"""The package `xlstm` (NX-AI, NeurIPS 2024): `xLSTMBlockStack` and `xLSTMLMModel`.

What its checkpoints hide: norms store their weight minus one; the sLSTM's modules `igate` and `fgate` feed the forget
and the input gate; the recurrent weights come in two layouts, of its plain and of its CUDA cell, and the order of the
biases follows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xlstm_apps.core.backbone import xLSTMBackbone
from xlstm_apps.core.config import ACTIVATIONS, xLSTMConfig
from xlstm_apps.core.language_model import xLSTMLanguageModel
from xlstm_apps.interop.weights import Weights, prefixed

NORM_EPS = 1e-5  # fixed in the original
ACTIVATION_NAMES = {"swish": "silu"}


def load_block_stack(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """`xLSTMBlockStack`: features [B, T, E] to features."""
    weights = Weights(tensors, "blocks.0.xlstm_norm.weight", "xlstm-blockstack")
    backbone = backbone_config(config, weights)
    module = xLSTMBackbone(backbone)
    weights.fill(module, backbone_tensors(backbone, weights))
    return module


def load_language_model(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """`xLSTMLMModel`: token ids [B, T] to logits [B, T, V]."""
    return language_model(config, Weights(tensors, "token_embedding.weight", "xlstm-lm"))


def language_model(
    config: Mapping[str, Any],
    weights: Weights,
    kind: type[xLSTMLanguageModel] = xLSTMLanguageModel,
    **options: Any,
) -> xLSTMLanguageModel:
    """A language model of this `kind` from its weights; `options` of `xLSTMConfig` are those that they do not tell."""
    stack = "xlstm_block_stack."
    backbone = dataclasses.replace(backbone_config(config, weights, stack), **options)
    embedding = weights.take("token_embedding.weight")
    check(config, "vocab_size", len(embedding), weights)
    tie = bool(config.get("tie_weights", False))
    dropout = float(config.get("dropout") or 0.0) if config.get("add_embedding_dropout") else 0.0
    module = kind(backbone, len(embedding), tie_weights=tie, embedding_dropout=dropout)
    head = weights.take_head("lm_head.weight", embedding, tie)
    if tie and not torch.equal(head, embedding):
        raise ValueError(f"{weights.source}: tie_weights=True, but lm_head.weight and token_embedding.weight differ")
    body = backbone_tensors(backbone, weights, stack)
    weights.fill(module, {"embedding.weight": embedding, "head.weight": head, **prefixed("backbone.", body)})
    return module


def backbone_config(config: Mapping[str, Any], weights: Weights, stack: str = "") -> xLSTMConfig:
    """Sizes are read off the weights, which cannot be wrong about them; a config that says otherwise is refused."""
    mlstm, slstm, ffn = (_section(config, *path) for path in _SECTIONS)
    kinds = _block_kinds(weights, stack)
    slstm_at = tuple(index for index, kind in enumerate(kinds) if kind == "slstm")
    E = len(weights.peek(f"{stack}blocks.0.xlstm_norm.weight"))
    check(config, "embedding_dim", E, weights)
    check(config, "num_blocks", len(kinds), weights)
    if config.get("slstm_at") is not None and config.get("mlstm_block", mlstm) is not None:  # without it all are sLSTM
        stated = range(len(kinds)) if config["slstm_at"] == "all" else sorted(config["slstm_at"])
        check({"slstm_at": [*stated]}, "slstm_at", [*slstm_at], weights)
    if slstm.get("function", "slstm") != "slstm":
        raise ValueError(f"{weights.source}: function={slstm['function']!r} is not supported, only 'slstm'")
    options: dict[str, Any] = {
        "embedding_dim": E,
        "num_blocks": len(kinds),
        "slstm_at": slstm_at,
        "dropout": float(config.get("dropout") or 0.0),
        "norm_eps": NORM_EPS,
        "final_norm": f"{stack}post_blocks_norm.weight" in weights,
        "proj_round_to": 1,  # the factors below are exact
    }
    if "mlstm" in kinds:
        block = f"{stack}blocks.{kinds.index('mlstm')}.xlstm."
        inner = weights.peek(f"{block}proj_down.weight").shape[1]
        heads = len(weights.peek(f"{block}mlstm_cell.igate.bias"))
        size = weights.peek(f"{block}q_proj.weight").shape[-1]
        check({**config, **mlstm}, "num_heads", heads, weights)
        check({**config, **mlstm}, "qkv_proj_blocksize", size, weights)
        options |= {
            "num_heads": heads,
            "mlstm_proj_factor": inner / E,
            "qkv_block_size": size,
            "conv1d_kernel_size": _kernel_size(weights, block),
            "bias": f"{block}proj_up.bias" in weights,
            "qkv_bias": f"{block}q_proj.bias" in weights,
        }
    if slstm_at:
        block = f"{stack}blocks.{slstm_at[0]}."
        heads = len(weights.peek(f"{block}xlstm.igate.weight"))
        check({**config, **slstm}, "num_heads", heads, weights)
        activation = ffn.get("act_fn", config.get("act_fn", "gelu"))
        activation = ACTIVATION_NAMES.get(activation, activation)
        if activation not in ACTIVATIONS:
            raise ValueError(f"{weights.source}: act_fn={activation!r} is not supported, only {', '.join(ACTIVATIONS)}")
        down = f"{block}ffn.proj_down.weight"
        options |= {
            "slstm_num_heads": heads,
            "slstm_conv1d_kernel_size": _kernel_size(weights, f"{block}xlstm."),
            "ffn_proj_factor": weights.peek(down).shape[1] / E if down in weights else 0,
            "ffn_bias": f"{block}ffn.proj_up.bias" in weights,
            "ffn_activation": activation,
        }
        options.setdefault("num_heads", heads)
    return xLSTMConfig(**options)


def backbone_tensors(config: xLSTMConfig, weights: Weights, stack: str = "") -> dict[str, Tensor]:
    """The tensors of `xLSTMBackbone(config)`."""
    tensors: dict[str, Tensor] = {}
    for index in range(config.num_blocks):
        block = slstm_block if config.is_slstm(index) else mlstm_block
        tensors |= prefixed(f"blocks.{index}.", block(weights, f"{stack}blocks.{index}."))
    if config.final_norm:
        tensors |= prefixed("final_norm.", stored_norm(weights, f"{stack}post_blocks_norm."))
    return tensors


def mlstm_block(weights: Weights, block: str) -> dict[str, Tensor]:
    layer, cell = f"{block}xlstm.", f"{block}xlstm.mlstm_cell."
    tensors = prefixed("norm.", stored_norm(weights, f"{block}xlstm_norm."))
    for name in ("proj_up", "q_proj", "k_proj", "v_proj", "proj_down"):
        tensors |= prefixed(f"mixer.{name}.", weights.take_linear(f"{layer}{name}."))
    for part in ("weight", "bias"):
        gates = [weights.take(f"{cell}{gate}.{part}") for gate in ("igate", "fgate")]
        tensors[f"mixer.gates.{part}"] = torch.cat(gates)
    tensors |= _conv(weights, layer)
    tensors["mixer.skip"] = weights.take(f"{layer}learnable_skip")
    return tensors | prefixed("mixer.head_norm.", stored_norm(weights, f"{cell}outnorm."))


def slstm_block(weights: Weights, block: str) -> dict[str, Tensor]:
    layer = f"{block}xlstm."
    tensors = prefixed("norm.", stored_norm(weights, f"{block}xlstm_norm.")) | _conv(weights, layer)
    # The module called fgate computes the input gate, the one called igate the forget gate.
    gates = [weights.take(f"{layer}{name}.weight") for name in ("fgate", "igate", "zgate", "ogate")]
    tensors["mixer.gates"] = torch.stack(gates)
    recurrent = weights.take(f"{layer}slstm_cell._recurrent_kernel_")
    bias = weights.take(f"{layer}slstm_cell._bias_")
    tensors["mixer.recurrent"], tensors["mixer.bias"] = slstm_cell(recurrent, bias)
    if f"{layer}group_norm.weight" in weights:
        tensors |= prefixed("mixer.head_norm.", stored_norm(weights, f"{layer}group_norm."))
    else:  # group_norm_weight=False
        tensors["mixer.head_norm.weight"] = torch.ones(bias.numel() // 4)
    if f"{block}ffn_norm.weight" in weights:
        tensors |= prefixed("ffn_norm.", stored_norm(weights, f"{block}ffn_norm."))
        for name in ("proj_up", "proj_down"):
            tensors |= prefixed(f"ffn.{name}.", weights.take_linear(f"{block}ffn.{name}."))
    return tensors


def slstm_cell(recurrent: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Recurrent weights [4, H, D_out, D_in] and bias [4, H, D] from either layout of the original.

    Plain cell: [H, 4 * D_out, D_in] and [4, H, D]. CUDA cell: [H, D_in, 4 * D_out] and [H, 4, D]. The shape of the
    weights tells which (4 D = D has no solution); that of the biases, flat, does not.
    """
    H, rows, columns = recurrent.shape
    if rows == 4 * columns:
        D = columns
        return recurrent.view(H, 4, D, D).transpose(0, 1), bias.view(4, H, D)
    if columns == 4 * rows:
        D = rows
        return recurrent.view(H, D, 4, D).permute(2, 0, 3, 1), bias.view(H, 4, D).transpose(0, 1)
    raise ValueError(f"recurrent weights of shape {[*recurrent.shape]} are neither [H, 4 D, D] nor [H, D, 4 D]")


def check(config: Mapping[str, Any], name: str, actual: Any, weights: Weights) -> None:
    """Refuse a config that says something else than the weights."""
    if config.get(name) not in (None, -1, actual):
        raise ValueError(f"{weights.source}: config says {name}={config[name]!r}, the weights have {actual!r}")


_SECTIONS = (("mlstm_block", "mlstm"), ("slstm_block", "slstm"), ("slstm_block", "feedforward"))


def _section(config: Mapping[str, Any], outer: str, inner: str) -> Mapping[str, Any]:
    return (config.get(outer) or {}).get(inner) or {}


def _block_kinds(weights: Weights, stack: str) -> list[str]:
    pattern = re.compile(re.escape(stack) + r"blocks\.(\d+)\.xlstm\.(mlstm|slstm)_cell\.")
    kinds = {int(match[1]): match[2] for name in weights.names() if (match := pattern.match(name))}
    if sorted(kinds) != [*range(len(kinds))] or not kinds:
        raise ValueError(f"{weights.source}: the state dict has no complete blocks, only of {sorted(kinds)}")
    return [kinds[index] for index in range(len(kinds))]


def _kernel_size(weights: Weights, layer: str) -> int:
    name = f"{layer}conv1d.conv.weight"
    return weights.peek(name).shape[-1] if name in weights else 0


def _conv(weights: Weights, layer: str) -> dict[str, Tensor]:
    if f"{layer}conv1d.conv.weight" not in weights:
        return {}
    kernel = weights.take(f"{layer}conv1d.conv.weight").squeeze(1).T
    return {"mixer.conv.weight": kernel, "mixer.conv.bias": weights.take(f"{layer}conv1d.conv.bias")}


def stored_norm(weights: Weights, norm: str) -> dict[str, Tensor]:
    """A norm whose weight is stored minus one."""
    tensors = weights.take_linear(norm)
    return tensors | {"weight": 1 + tensors["weight"]}
