"""Options that do nothing are refused before any work; names of regions are shown as they are."""

import pytest

from xlstm_apps.biosequence import HeadConfig, SequencePredictor
from xlstm_apps.biosequence.config import SequenceConfig
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.sequences import SequenceData, SequenceSource
from xlstm_apps.datasets.sequences.config import LabelledSource
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


@pytest.fixture
def genome(tmp_path):
    (tmp_path / "g.fa").write_text(">c1\nACGTACGTAA\n>c2\nGGGTTTACGTNCCA\n")
    (tmp_path / "r.bed").write_text("c2\t2\t8\tgene[bold]\t0\t-\nc1\t0\t4\t.\t0\t+\n")
    return tmp_path


@pytest.mark.parametrize("per_symbol", [False, True])
def test_predictions_of_regions_say_where_they_lie(genome, per_symbol, capsys):
    head = HeadConfig(task="classification", names=("a", "b"), per_symbol=per_symbol)
    backbone = xLSTMConfig(embedding_dim=16, num_blocks=1, num_heads=2, direction="alternating")
    SequencePredictor(head, SequenceConfig(objective="masked"), backbone).save_pretrained(genome / "model")
    source = SequenceSource(path=[str(genome / "g.fa")], regions_path=str(genome / "r.bed"))
    sequence.predict(str(genome / "model"), source, device="cpu")
    header, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    if not per_symbol:
        assert header[:5] == ["id", "name", "start", "length", "predicted"]
        assert [row[:4] for row in rows] == [["c2", "gene[bold]", "2", "6"], ["c1", ".", "0", "4"]]
        return
    assert header[:5] == ["id", "name", "position", "symbol", "predicted"]
    # GTTTAC read on the other strand, from its end
    assert [row[2] + row[3] for row in rows[:6]] == ["8G", "7T", "6A", "5A", "4A", "3C"]
    assert [row[2] + row[3] for row in rows[6:]] == ["1A", "2C", "3G", "4T"]


def test_kinds_of_regions_are_asked_of_files_that_have_them(genome):
    source = SequenceSource(path=[str(genome / "g.fa")], regions_path=str(genome / "r.bed"), region_kind="CDS")
    with pytest.raises(ValueError, match=r"only GFF and GTF say the kind of a region \('CDS'\), and this is BED$"):
        sequence.validate(source)


def test_a_prepared_folder_is_validated(genome, capsys):
    sequence.prepare(LabelledSource(path=[str(genome / "g.fa")]), str(genome / "corpus"))
    assert sequence.validate(SequenceSource(path=[str(genome / "corpus")])) == 0
    assert "2 records, 24 symbols" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"output .*: write to a \.json file"):
        sequence.validate(SequenceSource(path=[str(genome / "g.fa")]), output=str(genome / "report.txt"))
