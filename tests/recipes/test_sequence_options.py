"""Options that do nothing are refused before any work; names of regions are shown as they are."""

import pytest

from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.datasets.sequences import SequenceData
from xlstm_apps.recipes import sequence
from xlstm_apps.training.config import FitConfig

FIT = FitConfig(max_epochs=1, steps_per_epoch=1)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,sequence,label\n" + "".join(f"r{n},{'ACGT' * 5},{'xy'[n % 2]}\n" for n in range(20)))
    return str(path)


@pytest.mark.parametrize(
    ("verb", "data", "config", "words"),
    [
        ("finetune", {"stride": 3}, {}, r"data\.stride is for `sequence train`"),
        ("finetune", {"softmask_weight": 0.5}, {}, r"data\.softmask_weight is for `sequence train`"),
        ("finetune", {"margin": 3}, {}, r"data\.margin is for stretches .* data\.split is random"),
        (
            "finetune",
            {},
            {"objective": "masked", "mask_rate": 0.3},
            r"mask_rate does nothing for predictions",
        ),
        ("train", {"label_columns": ["label"]}, {}, r"data\.label_columns is for `sequence finetune`"),
        ("train", {"margin": 3, "split": "random"}, {}, r"data\.margin is for stretches"),
        ("train", {"test_contigs": ["r1"], "test_fraction": 0.3}, {}, r"data\.test_fraction is not used"),
        ("train", {}, {"mask_rate": 0.3}, r"sequence\.mask_rate does nothing with sequence\.objective causal"),
        ("train", {}, {"objective": "masked", "begin_token": False}, r"sequence\.begin_token does nothing"),
    ],
)
def test_options_that_do_nothing_are_refused(verb, data, config, words, table, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(ValueError, match=words) as caught:
        getattr(sequence, verb)(
            SequenceData(path=[table], **data), sequence=SequenceConfig(**config), fit=FIT, run_dir=str(run)
        )
    assert "\n" not in str(caught.value) and not run.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]  # nothing half made is left
