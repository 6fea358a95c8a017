"""The page on vision models: every block of it runs, in order."""

import re
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "vision.md").read_text(encoding="utf-8")


def test_every_block_runs():
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, names)
    assert [names[name].shape[0] for name in ("logits", "wide", "mixed")] == [2, 1, 2]
    assert names["guess"].shape == (10,)
    assert names["tokens"].shape == (1, 64, 192) and names["pooled"].shape == (1, 384)
    assert names["maps"][1].shape == (1, 192, 8, 12)
    assert [one.shape for one in names["pyramid"]] == [(1, 192, 4, 4)] * 4
