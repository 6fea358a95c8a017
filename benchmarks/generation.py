"""Tokens per second of `generate`, step by step and as replays of a CUDA graph.

    python benchmarks/generation.py [--tokens 256] [--quick] [--output FILE.csv]

Greedy, bfloat16, after a prompt of 64 tokens; medians over whole calls of `generate`, the recording of the graph
included. `floor` is the time to read weights once and to read and write states, at the speed of a large copy.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import torch

from xlstm_apps.core import xLSTMConfig, xLSTMLanguageModel
from xlstm_apps.core.size import count_weights

RESULTS = Path(__file__).parent / "results" / "generation.csv"
FIELDS = (
    "model", "parameters", "batch", "eager_ms_per_token", "graph_ms_per_token", "floor_ms_per_token",
    "eager_tokens_per_s", "graph_tokens_per_s", "same_tokens",
)  # fmt: skip
PROMPT, VOCAB = 64, 50304
MODELS = {
    "xlstm[7:1] 125M": {"embedding_dim": 768, "num_blocks": 12, "num_heads": 4, "slstm_at": (1, 9)},
    "xlstm-large 1.4B": {"family": "xlstm-large", "embedding_dim": 2048, "num_blocks": 24, "num_heads": 4},
    "xlstm-large 7B": {"family": "xlstm-large", "embedding_dim": 4096, "num_blocks": 32, "num_heads": 8},
}


def copy_speed() -> float:
    """Bytes per second, read plus written."""
    x = torch.empty(1 << 30, device="cuda", dtype=torch.bfloat16)
    y = torch.empty_like(x)
    y.copy_(x)
    return 4 * x.numel() / min(seconds(lambda: y.copy_(x)) for _ in range(5))


def seconds(call) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def per_token(model: xLSTMLanguageModel, ids: torch.Tensor, tokens: int, repeats: int, graph: bool) -> float:
    """Seconds for each token after the first, in the median: the prompt is read by a call for one token alone."""

    def run(new: int) -> float:
        times = sorted(seconds(lambda: model.generate(ids, new, cuda_graph=graph)) for _ in range(repeats))
        return times[len(times) // 2]

    run(16)
    return (run(tokens) - run(1)) / (tokens - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=256, help="new tokens per row")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, without the largest model")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the CSV file")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: generation.py needs a CUDA device")
    speed, repeats = copy_speed(), 3 if arguments.quick else 5
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: {speed / 1e12:.2f} TB/s", flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for name, options in MODELS.items():
            if arguments.quick and "7B" in name:
                continue
            torch.manual_seed(0)
            with torch.device("cuda"):
                model = xLSTMLanguageModel(xLSTMConfig(**options), VOCAB).to(torch.bfloat16).eval()
            size = count_weights(model)
            for batch in (1, 32):
                ids = torch.randint(VOCAB, (batch, PROMPT), device="cuda")
                state = model.initial_state(batch)
                cells = sum(x.numel() * x.element_size() for b in state.blocks for x in b.cell if x is not None)
                rows = (size - model.embedding.weight.numel()) * 2 + 2 * cells
                texts = [model.generate(ids, 64, cuda_graph=graph) for graph in (True, False)]
                eager, graph = (per_token(model, ids, arguments.tokens, repeats, graph) for graph in (False, True))
                row = {
                    "model": name, "parameters": size, "batch": batch, "eager_ms_per_token": 1e3 * eager,
                    "graph_ms_per_token": 1e3 * graph, "floor_ms_per_token": 1e3 * rows / speed,
                    "eager_tokens_per_s": batch / eager, "graph_tokens_per_s": batch / graph,
                    "same_tokens": torch.equal(*texts),
                }  # fmt: skip
                print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in row.items()), flush=True)
                writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
                file.flush()
            del model, state
            torch.cuda.empty_cache()
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
