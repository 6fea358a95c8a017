"""Learn the language of sequences: DNA, proteins, molecules, text.

xlstm-apps sequence validate --data.path genome.fa.gz
xlstm-apps sequence train --data.path genome.fa.gz
"""

from typing import Literal

from xlstm_apps.datasets.sequences.config import SequenceSource

AlphabetName = Literal["dna", "protein", "smiles", "text"]
Device = Literal["auto", "cpu", "cuda", "mps"]


def validate(data: SequenceSource, alphabet: AlphabetName = "dna", output: str | None = None) -> int:
    """Look through files of sequences and say what is wrong with them: exit code 0 clean, 1 bad records, 2 unusable.

    Everything is read, also where a training would stop at the first bad record.

    Args:
        data: The files.
        alphabet: Which symbols they should hold.
        output: File for the report as JSON. None: only the summary on the standard output.
    """
    from xlstm_apps.recipes import _sequence_validate as steps

    return steps.validate(data, alphabet, output)


def score(
    model: str,
    data: SequenceSource,
    output: str | None = None,
    per_base: str | None = None,
    strands: Literal["own", "both"] | None = None,
    context_length: int = 0,
    window: int | None = None,
    overlap: int | None = None,
    passes: int | None = None,
    batch_symbols: int | None = None,
    device: Device = "auto",
) -> None:
    """Say how probable a language model finds each record, or region, and on request each of its symbols.

    Columns: id, start (from 0), length, n_scored, nll (-log p in nats, summed), nll_per_token, ppl, bits_per_token,
    mode (causal, or pll: each symbol hidden once), strand, n_ambiguous (such as N: read, not scored), status. A
    chromosome takes no more memory than a gene.

    Args:
        model: Run folder of a training, model folder, or folder of a published DNA-xLSTM checkpoint.
        data: The sequences; with regions_path, regions of them.
        output: File to write, .tsv, .csv or .parquet. None: TSV on the standard output.
        per_base: File for -log2 p of every symbol: .bedgraph, .bedgraph.gz, or .npz (bits, offsets, id, start, strand;
            NaN where nothing is scored).
        strands: own: as given; both: mean of both strands. None: as the model was trained.
        context_length: Regions: symbols beside each that are read, but not scored.
        window: Read records in windows of so many symbols. None: a causal model reads them from end to end.
        overlap: Symbols that a window shares with the next. None: an eighth of it.
        passes: Masked models: readings, each hiding every passes-th symbol. None: 1 / mask_rate.
        batch_symbols: Most symbols read at a time. None: by the width of the model; lower it where memory runs out.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_score as steps

    reading = steps.Reading(
        strands=strands,
        context_length=context_length,
        window=window,
        overlap=overlap,
        passes=passes,
        batch_symbols=batch_symbols,
    )
    steps.score(model, data, output, per_base, reading, device)
