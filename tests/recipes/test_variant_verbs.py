"""variants and scan from the command line: values against whole contigs written by hand, files, and mistakes."""

import gzip
import itertools
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from xlstm_apps import cli
from xlstm_apps.biosequence import HeadConfig, SequenceConfig, SequenceModel, SequencePredictor, get_tokenizer
from xlstm_apps.core import xLSTMConfig
from xlstm_apps.datasets.sequences import vcf_output
from xlstm_apps.datasets.sequences.opening import BGZF_END

DNA = get_tokenizer("dna")
rng = np.random.default_rng(3)
CHR1 = "GG" + "CA" * 4 + "".join(rng.choice(list("ACGT"), 60)) + "TTTT" + "".join(rng.choice(list("ACGT"), 16))
CHR2 = "ACGTNNACCA"
GENOME = {"chr1": CHR1, "chr2": CHR2}
HEAD = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def at(place, length=1, contig="chr1"):
    """REF at a place counted from 1."""
    return GENOME[contig][place - 1 : place - 1 + length]


def another(base, n=0):
    return "ACGT".replace(base, "")[n]


LAST = len(CHR1)
# contig, place, REF, ALT, status, kind
ROWS = [
    ("chr1", 40, at(40), another(at(40)), "ok", "snv"),
    ("chr1", 1, "G", "A", "ok", "snv"),
    ("chr1", LAST, at(LAST), another(at(LAST)), "ok", "snv"),
    ("1", 40, at(40).lower(), another(at(40)).lower(), "ok", "snv"),  # the first row again, written another way
    ("chr1", 30, at(30, 2), another(at(30)) + another(at(31)), "ok", "mnv"),
    ("chr1", 8, "ACA", "A", "ok", "deletion"),  # one CA of four
    ("chr1", 2, "GCA", "G", "ok", "deletion"),  # the same one
    ("chr1", 72, "T", "TT", "ok", "insertion"),
    ("chr1", LAST, at(LAST), at(LAST) + "GA", "ok", "insertion"),
    ("chr1", 1, "GGC", "C", "ok", "deletion"),
    ("chr1", 50, at(50, 4), another(at(50)) + another(at(53)), "ok", "delins"),
    ("chr2", 4, "T", "A", "ok", "snv"),  # beside N
    ("chr2", 7, "A", "<DEL>", "symbolic", "symbolic"),
    ("chr2", 7, "A", "*", "overlapping", "overlapping"),
    ("chr2", 5, "N", "A", "ambiguous", "ambiguous"),
    ("chr1", 40, another(at(40)), at(40), "ref_mismatch", "snv"),
    ("chrX", 40, "A", "C", "unknown_contig", "unknown_contig"),
    ("chr2", 10, "AA", "C", "beyond_contig", "beyond_contig"),
    ("chr2", 7, "A", ".", "no_change", "no_change"),
    ("chr2", 7, "A", "Q", "bad", "bad"),
]


def save(folder, **options):
    torch.manual_seed(0)
    masked = options.get("objective") == "masked"
    backbone = xLSTMConfig(
        embedding_dim=16, num_blocks=2, num_heads=2, slstm_at=(1,), direction="bidirectional" if masked else "causal"
    )
    model = SequenceModel(SequenceConfig(**options), backbone)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    model.eval().save_pretrained(folder)
    return model


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with a model, a genome and variants, where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.fa").write_text("".join(f">{name}\n{text}\n" for name, text in GENOME.items()))
    rows = [f"{contig}\t{place}\t.\t{ref}\t{alt}\t.\tPASS\tDP=4\n" for contig, place, ref, alt, *_ in ROWS]
    (tmp_path / "v.vcf").write_text(HEAD + "".join(rows))
    return save("m")


def run(*words):
    return cli.run(["sequence", *words, "--device", "cpu", "--data.path", "g.fa"])


def table(path):
    return pl.read_csv(path, separator="\t", schema_overrides={"id": pl.String})


def turned(text):
    return text.translate(str.maketrans("ACGTN", "TGCAN"))[::-1]


def log_p(model, text):
    """Of a whole contig, in one pass; N is read and not scored."""
    ids = torch.tensor([DNA.bos_id, *DNA.encode(text)])
    with torch.no_grad():
        p = model(ids[None, :-1])[0].double().log_softmax(-1)
    scores = p.gather(1, ids[1:, None])[:, 0]
    return float(scores[ids[1:] != DNA.encode("N")[0]].sum())


def test_scores_are_those_of_whole_contigs_with_each_allele_written_in(work, capsys):
    run("variants", "m", "v.vcf", "--output", "v.tsv", "--context_length", "all", "--downstream", "999")
    found = table("v.tsv")
    assert found["status"].to_list() == [row[4] for row in ROWS] and found["kind"].to_list() == [row[5] for row in ROWS]
    assert found["pos"].to_list() == [row[1] for row in ROWS] and found["line"].to_list() == [*range(3, 3 + len(ROWS))]
    for (contig, place, ref, alt, status, _), row in zip(ROWS, found.iter_rows(named=True), strict=True):
        if status != "ok":
            assert row["score"] is row["score_forward"] is row["score_reverse"] is None
            continue
        text = GENOME["chr1" if contig == "1" else contig]
        changed = text[: place - 1] + alt.upper() + text[place - 1 + len(ref) :]
        assert text[place - 1 :].startswith(ref.upper())
        forward, reverse = (log_p(work, f(changed)) - log_p(work, f(text)) for f in (str, turned))
        assert row["score_forward"] == pytest.approx(forward, abs=5e-5), row
        assert row["score_reverse"] == pytest.approx(reverse, abs=5e-5), row
        assert row["score"] == pytest.approx((forward + reverse) / 2, abs=5e-5)
    error = capsys.readouterr().err
    assert "scored 12 of 20 alleles" in error and "2 alleles are in the file already" in error
    assert "1 without a score, ref_mismatch" in error and "line 18: chr1:40" in error
    assert "for 1 of them the genome holds ALT" in error


def test_normalised_alleles_are_told(work):
    run("variants", "m", "v.vcf", "--output", "v.parquet", "--context_length", "16", "--downstream", "4")
    rows = pl.read_parquet("v.parquet").filter(pl.col("kind") == "deletion")
    assert rows.select("norm_pos", "norm_ref", "norm_alt").rows()[:2] == [(2, "GCA", "G")] * 2
    assert rows["score"][0] == rows["score"][1]


def test_scores_in_a_vcf_file_packed_as_bgzip(work):
    extra = "chr1\t40\tx\t{}\t{},<DEL>,{}\t9\tPASS\tXLSTM_SCORE=7;DP=4;DB\tGT\t0/1\n"
    text = HEAD.replace("INFO\n", "INFO\tFORMAT\ts1\n").replace(
        "#CHROM", '##INFO=<ID=XLSTM_SCORE,Number=A,Type=Float,Description="old">\n#CHROM'
    ) + extra.format(at(40), another(at(40)), another(at(40), 1))  # fmt: skip
    Path("w.vcf").write_text(text)
    run("variants", "m", "w.vcf", "--output", "w.vcf.gz", "--context_length", "16")
    run("variants", "m", "w.vcf", "--output", "w.csv", "--context_length", "16")
    raw = Path("w.vcf.gz").read_bytes()
    assert raw[:4] == b"\x1f\x8b\x08\x04" and raw[12:14] == b"BC" and raw.endswith(BGZF_END)
    lines = gzip.decompress(raw).decode().splitlines()
    assert sum(line.startswith("##INFO=<ID=XLSTM_SCORE,") for line in lines) == 1
    score = pl.read_csv("w.csv")["score"].to_list()
    cells = lines[-1].split("\t")
    info = dict(entry.split("=") for entry in cells[7].split(";") if "=" in entry)
    assert list(info)[:2] == ["DP", "XLSTM_SCORE"] and ";DB;" in cells[7] and cells[8:] == ["GT", "0/1"]
    assert info["XLSTM_STATUS"] == "ok,symbolic,ok"
    first, middle, last = info["XLSTM_SCORE"].split(",")
    assert middle == "." and [float(first), float(last)] == pytest.approx([score[0], score[2]], abs=1e-4)


def test_packed_blocks_hold_any_number_of_lines(tmp_path):
    lines = [str(n) * 50 for n in range(9_000)]
    vcf_output.write_lines(tmp_path / "a.gz", lines, packed=True)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).decode().splitlines() == lines
    noise = np.random.default_rng(0).bytes(200_000).hex()
    vcf_output.write_lines(tmp_path / "b.gz", [noise], packed=True)
    assert gzip.decompress((tmp_path / "b.gz").read_bytes()).decode() == noise + "\n"


def test_bcf_in_sites_out(work):
    # one site with two alternatives, chr1:40, as a minimal file by hand: header, then one record of five columns
    def text(value):
        return bytes([len(value) << 4 | 7]) + value.encode()

    header = b"##fileformat=VCFv4.2\n##contig=<ID=chr2>\n##contig=<ID=chr1>\n#CHROM\tPOS\tID\tREF\tALT\n\0"
    alleles = [at(40), another(at(40)), "<DEL>"]
    shared = struct.pack("<iiifII", 1, 39, 1, 0.0, len(alleles) << 16, 0) + text("rs1")
    shared += b"".join(text(allele) for allele in alleles) + b"\0"
    record = struct.pack("<II", len(shared), 0) + shared
    Path("v.bcf").write_bytes(gzip.compress(b"BCF\2\2" + struct.pack("<I", len(header)) + header + record))
    run("variants", "m", "v.bcf", "--output", "o.vcf", "--context_length", "all", "--downstream", "999")
    line = Path("o.vcf").read_text().splitlines()[-1]
    assert line.startswith(f"chr1\t40\trs1\t{at(40)}\t{another(at(40))},<DEL>\t.\t.\tXLSTM_SCORE=")
    run("variants", "m", "v.vcf", "--output", "v.tsv", "--context_length", "all", "--downstream", "999")
    assert float(line.split("XLSTM_SCORE=")[1].split(",")[0]) == pytest.approx(table("v.tsv")["score"][0], abs=1e-4)


def test_fine_tuned_models_tell_the_change_of_every_output(work):
    model = save("base", objective="masked", symmetry="shared")
    head = HeadConfig(task="classification", num_outputs=3, names=("a", "b", "forward"))
    SequencePredictor.from_model(model, head).eval().save_pretrained("p")
    run("variants", "p", "v.vcf", "--output", "p.tsv", "--context_length", "10")
    found = table("p.tsv").filter(pl.col("status") == "ok")
    assert found["score_reverse"].null_count() == len(found)
    changes = found.select("change_a", "change_b", "change_forward").to_numpy()
    chosen = [("a", "b", "forward").index(name) for name in found["output"]]
    assert chosen == np.abs(changes).argmax(1).tolist()
    np.testing.assert_allclose(found["score"], changes[np.arange(len(changes)), chosen])
    run("variants", "p", "v.vcf", "--output", "p.vcf", "--context_length", "10")
    assert "XLSTM_CHANGE_forward=" in Path("p.vcf").read_text()


def test_without_a_variant_there_is_a_table_of_no_rows(work, capsys):
    Path("none.vcf").write_text(HEAD)
    run("variants", "m", "none.vcf")
    assert capsys.readouterr().out.startswith("chrom\tpos\tid")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["v.vcf", "--output", "v.txt"], "output v.txt: write to a .csv, .tsv or .parquet file"),
        (["v.vcf", "--output", "no/v.vcf"], "the folder no does not exist"),
        (["gone.vcf"], "gone.vcf: no such file"),
        (["g.fa"], "g.fa line 1: 1 columns; a VCF line begins with CHROM"),
        (["v.vcf", "--context_length", "0"], "context_length 0 must be at least 1"),
        (["v.vcf", "--context_length", "some"], "--context_length: expected"),
        (["v.vcf", "--data.regions_path", "r.bed"], "variants need whole contigs"),
    ],
)
def test_mistakes_are_told_in_one_line(work, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["sequence", "variants", "m", *words, "--data.path", "g.fa"])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and "Traceback" not in error


def test_a_scan_agrees_with_variants_on_both_strands(work):
    run("scan", "m", "--regions", "chr1:31-40,chr1:31-40:-", "--output", "s", "--context_length", "16")
    found = table("s/effects.tsv")
    assert len(found) == 60 and found["region"].unique(maintain_order=True).to_list() == ["chr1:31-40", "chr1:31-40:-"]
    rows = [(place, at(place), alt) for place in range(31, 41) for alt in "ACGT" if alt != at(place)]
    lines = [f"chr1\t{place}\t.\t{ref}\t{alt}\t.\t.\t.\n" for place, ref, alt in rows]
    Path("all.vcf").write_text(HEAD + "".join(lines))
    run("variants", "m", "all.vcf", "--output", "all.tsv", "--context_length", "16")
    columns = ["score", "score_forward", "score_reverse"]
    expected = dict(zip(rows, table("all.tsv").select(columns).rows(), strict=True))
    for row in found.iter_rows(named=True):
        ref, alt = row["ref"], row["alt"]
        if row["strand"] == "-":
            ref, alt = turned(ref), turned(alt)
        assert [row[c] for c in columns] == pytest.approx(expected[row["position"], ref, alt], abs=1e-5)
    second = found.filter(pl.col("strand") == "-")
    assert "".join(second["ref"].gather_every(3)) == turned(at(31, 10))
    page = Path("s/scan.html").read_text()
    assert page.count("<svg") == 2 and "http" not in page.split("<svg")[1].replace("http://www.w3.org/2000/svg", "")
    assert Path("s/chr1_31-40.svg").read_text().count("<circle") == 10


def test_a_scan_of_proteins_with_deletions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = save("p", alphabet="protein")
    (tmp_path / "g.fa").write_text(">one\nMKTXY\n")
    run("scan", "p", "--deletions", "--context_length", "all")
    found = table("scan/effects.tsv")
    assert len(found) == 4 * 20 and found["position"].unique().to_list() == [1, 2, 3, 5]  # X is left as it is
    protein = get_tokenizer("protein")

    def total(text):
        ids = torch.tensor([protein.bos_id, *protein.encode(text)])
        p = model(ids[None, :-1])[0].double().log_softmax(-1).gather(1, ids[1:, None])[:, 0]
        return float(p[ids[1:] != protein.encode("X")[0]].detach().sum())

    scores = {(r["position"], r["alt"]): r["score"] for r in found.iter_rows(named=True)}
    for place, alt in itertools.product((1, 3, 5), ("W", "-")):
        text = "MKTXY"[: place - 1] + alt.strip("-") + "MKTXY"[place:]
        assert scores[place, alt] == pytest.approx(total(text) - total("MKTXY"), abs=5e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_positions", "9"], "more than max_positions 9; name stretches with --regions"),
        (["--regions", "chr1:5-5000"], "reaches beyond the 90 symbols"),
        (["--regions", "chr9:5-6"], "no record 'chr9'"),
        (["--regions", "chr1:x-6"], "write it as chr1:1001-2000"),
        (["--output", "v.vcf"], "output v.vcf: give a folder"),
    ],
)
def test_mistakes_of_a_scan_are_told_in_one_line(work, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["sequence", "scan", "m", *words, "--data.path", "g.fa"])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and "Traceback" not in error
