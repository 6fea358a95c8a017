"""Small models of proteins on disk, and what runs the command on them."""

import pytest
import torch

from xlstm_apps import cli
from xlstm_apps.biosequence import SequenceConfig, SequenceModel
from xlstm_apps.core import xLSTMConfig

WILD = "MKTAYIAKQRQISFVK"
FAMILY = {
    "query": WILD,
    "near": "MKTAYIAKQRQISYVR",
    "far": "MRSAYLARQKQLTWLE",
    "copy": WILD,
    "third": "MKSAYIAKGRQIAFVK",
}


def build(folder, seed: int = 0, **options) -> SequenceModel:
    """A model with no parameter at a special value, saved in `folder`."""
    torch.manual_seed(seed)
    masked = options.get("objective") == "masked"
    direction = "bidirectional" if masked else "causal"
    given = {"alphabet": "protein", "infill_spans": 0.0 if masked or options.get("alphabet") else 1.0, **options}
    rotary = None if masked else 100.0
    backbone = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2, direction=direction, rotary_base=rotary)
    model = SequenceModel(SequenceConfig(**given), backbone)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    return model


def write_family(path, names=("query", "near", "far", "copy", "third")):
    """An alignment of some of the family."""
    path.write_text("".join(f">{name} words\n{FAMILY[name]}\n" for name in names))
    return path


def run(*words):
    return cli.run(["sequence", *words])


def mistake(capsys, *words):
    """The line that a mistake is answered with."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["sequence", *words])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error
