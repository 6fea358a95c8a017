"""The page on sequence models: every block of it runs, in order."""

import re
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "sequence-models.md").read_text(encoding="utf-8")


def test_every_block_runs():
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, names)
    assert names["nll"].isnan().tolist()[0].index(True) == 8 and names["nll"].isfinite().sum() == 13
    assert names["pooled"].shape == (1, 128) and names["reference"] != names["alternative"]
    assert not any(p.requires_grad for p in names["predictor"].model.parameters())
