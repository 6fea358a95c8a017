"""What changes of single symbols do: variants of a genome, and scans.

xlstm-apps sequence variants runs/genome calls.vcf.gz --data.path genome.fa.gz
xlstm-apps sequence scan runs/genome --data.path genome.fa.gz --regions chr1:1001-1200
"""

from typing import Literal

from xlstm_apps.datasets.sequences.config import SequenceSource
from xlstm_apps.training.config import Device


def variants(
    model: str,
    vcf: str,
    data: SequenceSource,
    output: str | None = None,
    strands: Literal["forward", "reverse", "both"] | None = None,
    context_length: int | Literal["all"] | None = None,
    downstream: int | None = None,
    per_symbol: bool = False,
    batch_symbols: int | None = None,
    device: Device = "auto",
) -> None:
    """Score variants of a genome: SNVs, MNVs, insertions, deletions. Below 0: ALT is less probable than REF.

    The score of a language model is log p(ALT) - log p(REF) in nats: causal, of the allele and of `downstream` symbols
    behind it, given what stands before; masked, of the symbols that are hidden. That of a fine-tuned model is the
    change of its output: log odds of the second of two classes or of a label, log probability of a class, a number.
    Every row has a status; those without a score say why.

    Args:
        model: Run folder of a training, model folder, or folder of a published DNA-xLSTM checkpoint.
        vcf: VCF (plain, gzip, bgzip) or BCF.
        data: The genome.
        output: File to write: .tsv, .csv, .parquet, or .vcf and .vcf.gz with the scores in INFO. None: TSV on the
            standard output.
        strands: Which strands are read; `score` is their mean. None: both, or forward for a fine-tuned model.
        context_length: Causal: symbols read before a variant, at least so many and less than twice as many, which
            neighbours share; masked and fine-tuned: symbols on each side. all: the whole contig. None: half of a
            training window.
        downstream: Causal: symbols behind the variant that count. Masked: symbols on each side of an insertion or
            deletion that count. None: 128, or 16 if masked.
        per_symbol: Means over the symbols that count instead of sums, so that the length of an allele matters less.
        batch_symbols: Most symbols read at a time. None: by device; lower it where memory runs out.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_variants as steps

    asked = steps.Asked(
        strands=strands, context_length=context_length, downstream=downstream, per_symbol=per_symbol,
        batch_symbols=batch_symbols,
    )  # fmt: skip
    steps.run(model, vcf, data, output, asked, device)


def scan(
    model: str,
    data: SequenceSource,
    regions: list[str] | None = None,
    output: str = "scan",
    deletions: bool = False,
    strands: Literal["forward", "reverse", "both"] | None = None,
    context_length: int | Literal["all"] | None = None,
    downstream: int | None = None,
    per_symbol: bool = False,
    context: str | None = None,
    method: Literal["auto", "forward", "infill"] | None = None,
    max_positions: int = 20_000,
    batch_symbols: int | None = None,
    device: Device = "auto",
) -> None:
    """Replace every symbol of a stretch by every other one and tell what that does, as a table and heat maps.

    Scores are those of `sequence variants`: below 0, less probable than what stands there. Writes effects.tsv, an SVG
    for every stretch and scan.html. For DNA and proteins.

    Args:
        model: Run folder of a training, model folder, or folder of a published DNA-xLSTM checkpoint.
        data: The sequences; with regions_path, its regions are scanned, and what stands beside them is read too.
        regions: Stretches to scan, as chr1:1001-1200, counted from 1, the end in it; chr1:1001-1200:- is read on the
            other strand. None: the regions of `data`, or whole records.
        output: Folder to write to.
        deletions: Also take out each symbol.
        strands: As in `sequence variants`. A fine-tuned model reads the strand of the stretch unless told otherwise.
        context_length: As in `sequence variants`.
        downstream: As in `sequence variants`.
        per_symbol: As in `sequence variants`.
        context: Proteins: file of `sequence context`, homologs to read first; scores are those of `sequence fitness`.
        method: Proteins: as in `sequence fitness`. None: auto with a context, else as in `sequence variants`.
        max_positions: Most positions to scan; more are refused, since each takes several readings.
        batch_symbols: Most symbols read at a time. None: by device; lower it where memory runs out.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_scan as steps

    asked = steps.Asked(
        strands=strands, context_length=context_length, downstream=downstream, per_symbol=per_symbol,
        batch_symbols=batch_symbols,
    )  # fmt: skip
    steps.run(model, data, regions, output, deletions, asked, max_positions, device, context, method)
