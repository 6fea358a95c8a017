"""The 7B architecture: `xLSTMLarge` of the package `xlstm`, and `xLSTMForCausalLM` of transformers.

Both keep queries, keys, values and gates apart (`weight_mode="single"`) or together ("fused"), under names that changed
over time; all are accepted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.core.language_model import xLSTMLanguageModel
from xlstm_apps.interop.weights import Weights, prefixed
from xlstm_apps.interop.xlstm import check


def load_large(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """`xLSTMLarge`: token ids [B, T] to logits [B, T, V]."""
    return _load(config, Weights(tensors, "embedding.weight", "xlstm-large"), "embedding.weight", tie=False)


def load_huggingface(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> nn.Module:
    """`xLSTMForCausalLM`: token ids [B, T] to logits [B, T, V]; `generate` ends at the folder's `eos_token_id`."""
    names = {"embedding_dim": "hidden_size", "num_blocks": "num_hidden_layers"}
    config = {**config, **{ours: config[theirs] for ours, theirs in names.items() if config.get(theirs) is not None}}
    weights = Weights(tensors, "backbone.embeddings.weight", "hf-xlstm")
    tie = bool(config.get("tie_word_embeddings", False))
    ends = {"eos_id": config.get("eos_token_id"), "pad_id": config.get("pad_token_id")}
    return _load(config, weights, "backbone.embeddings.weight", tie, **ends)


def _load(config: Mapping[str, Any], weights: Weights, embedding_name: str, tie: bool, **options: Any) -> nn.Module:
    backbone = _backbone_config(config, weights)
    embedding = weights.take(embedding_name)
    check(config, "vocab_size", len(embedding), weights)
    head = weights.take_head("lm_head.weight", embedding, tie)
    # transformers 5 accepts tie_word_embeddings but leaves the two apart: what the weights say is what it computes.
    tie = tie and torch.equal(head, embedding)
    cap = config.get("output_logit_soft_cap", 30.0) or 0.0
    module = xLSTMLanguageModel(backbone, len(embedding), tie_weights=tie, logit_soft_cap=cap, **options)
    tensors = {"embedding.weight": embedding, "head.weight": head}
    for index in range(backbone.num_blocks):
        block = _block(weights, f"backbone.blocks.{index}.")
        tensors |= prefixed(f"backbone.blocks.{index}.", block)
    if backbone.final_norm:
        norm = weights.take_linear("backbone.out_norm.")
        if backbone.norm_bias:
            norm.setdefault("bias", torch.zeros_like(norm["weight"]))  # transformers never gives this norm one
        tensors |= prefixed("backbone.final_norm.", norm)
    weights.fill(module, tensors)
    return module


def _backbone_config(config: Mapping[str, Any], weights: Weights) -> xLSTMConfig:
    """Sizes are read off the weights; a config that says otherwise is refused."""
    pattern = re.compile(r"backbone\.blocks\.(\d+)\.")
    blocks = {int(match[1]) for name in weights.names() if (match := pattern.match(name))}
    first = "backbone.blocks.0."
    out_proj = weights.peek(f"{first}mlstm_layer.out_proj.weight")
    E, v_dim = out_proj.shape
    if f"{first}mlstm_layer.qkv_opreact.weight" in weights:
        qk_dim = len(weights.peek(f"{first}mlstm_layer.qkv_opreact.weight")) // 2 - v_dim
        heads = len(weights.peek(f"{first}mlstm_layer.ifgate_preact.bias")) // 2
    else:
        qk_dim = len(weights.peek(f"{first}mlstm_layer.q.weight", f"{first}mlstm_layer.query.weight"))
        heads = len(weights.peek(f"{first}mlstm_layer.igate_preact.bias"))
    bias = f"{first}mlstm_layer.out_proj.bias" in weights
    for name, actual in (("embedding_dim", E), ("num_blocks", len(blocks)), ("num_heads", heads), ("use_bias", bias)):
        check(config, name, actual, weights)
    return xLSTMConfig(
        family="xlstm-large",
        embedding_dim=E,
        num_blocks=len(blocks),
        num_heads=heads,
        bias=bias,
        norm_bias=bias,
        norm_eps=config.get("norm_eps", 1e-6),
        cell_eps=config.get("eps", 1e-6),
        final_norm="backbone.out_norm.weight" in weights,
        qk_dim_factor=qk_dim / E,
        v_dim_factor=v_dim / E,
        gate_soft_cap=config.get("gate_soft_cap", 15.0),
        ffn_proj_factor=weights.peek(f"{first}ffn.proj_down.weight").shape[1] / E,
        proj_round_to=1,
    )


def _block(weights: Weights, block: str) -> dict[str, Tensor]:
    layer, ffn = f"{block}mlstm_layer.", f"{block}ffn."
    qkvo = (("q", "query"), ("k", "key"), ("v", "value"), ("ogate_preact",))
    return (
        prefixed("norm.", weights.take_linear(f"{block}norm_mlstm."))
        | prefixed("mixer.qkvo_proj.", _fused(weights, layer, "qkv_opreact", *qkvo))
        | prefixed("mixer.gates.", _fused(weights, layer, "ifgate_preact", ("igate_preact",), ("fgate_preact",)))
        | prefixed("mixer.head_norm.", weights.take_linear(f"{layer}multihead_norm."))
        | prefixed("mixer.out_proj.", weights.take_linear(f"{layer}out_proj."))
        | prefixed("ffn_norm.", weights.take_linear(f"{block}norm_ffn."))
        | prefixed("ffn.proj_up.", _fused(weights, ffn, "proj_up_gate_z", ("proj_up_gate",), ("proj_up",)))
        | prefixed("ffn.proj_down.", weights.take_linear(f"{ffn}proj_down."))
    )


def _fused(weights: Weights, layer: str, together: str, *apart: tuple[str, ...]) -> dict[str, Tensor]:
    """A projection stored in one piece, or in several, each under one of its names, that are stacked here."""
    if f"{layer}{together}.weight" in weights:
        return weights.take_linear(f"{layer}{together}.")
    tensors: dict[str, Tensor] = {}
    for part in ("weight", "bias"):
        keys = [[f"{layer}{name}.{part}" for name in names] for names in apart]
        if part == "weight" or any(name in weights for names in keys for name in names):
            tensors[part] = torch.cat([weights.take(*names) for names in keys])
    return tensors
