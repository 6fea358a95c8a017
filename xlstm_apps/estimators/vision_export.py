"""A classifier as a file that needs this package no more: an exported graph of torch, or ONNX; run and compared."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xlstm_apps.training import files
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.parallel import in_parallel

TOLERANCE = 1e-4
"""Largest difference of a probability."""
ENDINGS = (".onnx", ".pt2")
_BATCHES = (1, 3)
"""Sizes of the batches that are compared."""


def export(classifier: ImageClassifier, path: Path, img_size: int | None = None) -> float:
    """Write the graph, and beside it a JSON file with classes and sizes; both only where it computes the same.

    The graph takes `pixels` [N, C, H, W] from 0 to 1, any N, and gives `logits` [N, classes]; it normalises itself.

    Args:
        classifier: On the CPU.
        path: A .onnx or .pt2 file.
        img_size: Height and width of the images. None: those of training.

    Returns:
        The largest difference of a probability between the classifier and the file, over random images.

    Raises:
        ValueError: Another ending, a missing package, or a graph that computes something else.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"output {path}: export to a {' or '.join(ENDINGS)} file")
    sides = (img_size, img_size) if img_size else classifier.images.sides
    if path.suffix == ".onnx":
        _needed()
    made = copy.deepcopy(classifier).eval().requires_grad_(False)
    channels = made.model.vision.in_chans
    example = torch.rand(2, channels, *sides)
    with files.replacing(path) as aside:
        with in_parallel(made.model), _quiet():
            batch = torch.export.Dim("batch", min=1, max=1024)
            program = torch.export.export(made, (example,), dynamic_shapes={"x": {0: batch}})
            if path.suffix == ".pt2":
                torch.export.save(program, aside)
            else:
                torch.onnx.export(
                    program, (), str(aside), dynamo=True, external_data=False, input_names=["pixels"],
                    output_names=["logits"], verbose=False,
                )  # fmt: skip
        worst = max(_difference(classifier, aside, torch.rand(n, channels, *sides)) for n in _BATCHES)
        if not worst <= TOLERANCE:
            raise ValueError(f"{path}: the exported graph is off by {worst:.2g} in a probability; nothing was written")
    looks = asdict(classifier.images) | {"in_chans": channels, "input": "pixels", "output": "logits"}
    looks |= {"img_size": max(sides), "shape": None if sides[0] == sides[1] else sides, "shapes": ()}
    files.write_text(path.with_suffix(".json"), json.dumps(looks, indent=2, ensure_ascii=False) + "\n")
    return worst


def _difference(classifier: ImageClassifier, path: Path, x: torch.Tensor) -> float:
    with torch.no_grad():
        expected = classifier(x).softmax(-1).numpy()
    found = _run(path, x)
    return float(np.abs(torch.from_numpy(found).softmax(-1).numpy() - expected).max())


def _run(path: Path, x: torch.Tensor) -> np.ndarray:
    """Logits of a file."""
    if path.suffix == ".pt2":
        with torch.no_grad():
            return torch.export.load(path).module()(x).numpy()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"pixels": x.numpy()})[0]  # type: ignore[return-value]


def _needed() -> None:
    import importlib.util

    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f"exporting to ONNX needs {name}: pip install 'xlstm-apps[onnx]', or export to a .pt2 file"
            )


class _quiet(warnings.catch_warnings):  # noqa: N801 - a context manager
    """Torch's exporters tell of their own workings."""

    def __init__(self) -> None:
        super().__init__(action="ignore")
        self._levels: dict[str, Any] = {}

    def __enter__(self) -> Any:
        for name in ("torch.onnx", "onnxscript", "torch.export", "onnx_ir"):
            logger = logging.getLogger(name)
            self._levels[name] = logger.level
            logger.setLevel(logging.ERROR)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
        super().__exit__(*error)
