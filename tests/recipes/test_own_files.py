"""A command does not write over what it reads, nor two results into one file."""

from pathlib import Path

import pytest

from xlstm_apps import cli
from xlstm_apps.recipes._own_files import check_own_files

BEFORE = ">a\nACGTACGT\n"
FOLDER = "inside"


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.fa", "a.csv", "a.vcf", "a.safetensors", f"{FOLDER}/b.fa", "m/model/model.safetensors"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(BEFORE)
    Path("link.csv").symlink_to("a.csv")
    yield
    for name in ("a.fa", "a.csv", "a.vcf", "a.safetensors", f"{FOLDER}/b.fa", "m/model/model.safetensors"):
        assert Path(name).read_text() == BEFORE


@pytest.mark.parametrize(
    ("command", "option", "other"),
    [
        ("sequence generate m --output a.fa --prompts_path a.fa", "output", "prompts_path"),
        ("sequence score m --data.path a.csv --output ./a.csv", "output", "data.path"),
        ("sequence score m --data.path b.fa a*.csv --output a.csv", "output", "data.path"),
        ("sequence score m --data.path a.fa --context a.safetensors --per_base a.safetensors", "per_base", "context"),
        ("sequence predict m --data.path link.csv --output a.csv", "output", "data.path"),
        ("sequence variants m a.vcf --data.path a.fa --output a.vcf", "output", "vcf"),
        ("sequence context m a.fa --output m/model/model.safetensors", "output", "model"),
        (f"sequence filter --data.path {FOLDER} --output {FOLDER}/b.fa", "output", "data.path"),
        ("forecast predict m --data.path a.csv --output a.csv", "output", "data.path"),
        ("vision predict m --data.path a.csv --output link.csv", "output", "data.path"),
    ],
)
def test_what_is_read_is_not_written_over(command, option, other, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(command.split())
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1
    assert f"--{option} " in error and f"--{other} reads this file" in error


def test_two_results_are_two_files():
    with pytest.raises(ValueError, match=r"are one file, x\.csv; name another for one of them"):
        cli.run(["sequence", "filter", "--data.path", "a.csv", "--output", "x.csv", "--rejects", "x.csv"])


@pytest.mark.parametrize("prompt", ["ACGT" * 2000, "~nobody-of-this-name", "MKT[5-12]GG[*]", "N#C[C@@H](*)O"])
def test_what_is_no_file_is_let_pass(prompt):
    check_own_files({"prompt": prompt, "output": "a.fa"})
