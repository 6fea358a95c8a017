"""Proteins behind homologs of their family: contexts, mutants, gaps.

xlstm-apps sequence context runs/proteins family.a3m
xlstm-apps sequence fitness runs/proteins mutants.csv --context family.state.safetensors
"""

from typing import Literal

from xlstm_apps.training.config import Device


def context(
    model: str,
    family: str,
    output: str = "family.state.safetensors",
    query: str | None = None,
    draws: int = 1,
    num_homologs: int | None = 200,
    max_symbols: int | None = None,
    max_identity: float | None = None,
    min_identity: float | None = None,
    with_query: bool = False,
    aligned: bool | None = None,
    on_bad: Literal["error", "skip"] = "error",
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Let a model read homologs of a family, or a set of molecules, once, and keep what it knows then in a small file.

    The file goes with `--context` of `score`, `fitness`, `scan`, `generate` and `infill`, any often and with this model
    alone. Its size does not depend on how much was read. Homologs are drawn by weight (one over the number of sequences
    alike), the least alike first; neither the query nor copies of it are shown. Molecules are drawn at random.

    Args:
        model: Run folder of a training on proteins or on sets of molecules, model folder, or folder of a published
            Prot-xLSTM checkpoint.
        family: Homologs: A3M, Stockholm, FASTA aligned or not, plain or packed. Molecules: .smi, .sdf, tables.
        output: File to write, .safetensors.
        query: The protein that the others are homologs of: a file of one sequence, or its residues. None: the first of
            an alignment; none of sequences that are not aligned.
        draws: Contexts to make, each of other homologs; what is asked behind them is the mean over all.
        num_homologs: Most homologs, or molecules, in each. null: any number.
        max_symbols: Most symbols in each. None: a training window of the model.
        max_identity: Homologs closer to the query are not shown. None: 0.98.
        min_identity: Homologs further from it are not shown. None: 0.3, or 0 where they are not aligned.
        with_query: Show the query too, as the last; for generating proteins like it.
        aligned: Whether FASTA holds an alignment. None: where all rows are of one width.
        on_bad: Homologs with characters that no protein holds, strings that are no molecule: error stops, skip leaves
            them out.
        seed: Seed of the draws.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.estimators.sequence_context import DrawOptions
    from xlstm_apps.recipes import _sequence_context as steps

    options = DrawOptions(
        draws=draws,
        num_homologs=num_homologs,
        max_symbols=max_symbols,
        max_identity=max_identity,
        min_identity=min_identity,
        with_query=with_query,
        seed=seed,
    )
    steps.run(model, family, output, query, aligned, on_bad, options, device)


def fitness(
    model: str,
    mutants: str,
    output: str | None = None,
    wild_type: str | None = None,
    context: str | None = None,
    method: Literal["auto", "forward", "infill"] = "auto",
    show_wild_type: bool | None = None,
    offset: int = 0,
    mutant_column: str | None = None,
    sequence_column: str | None = None,
    measured_column: str | None = None,
    column: str = "xlstm_score",
    on_bad: Literal["error", "skip"] = "error",
    batch_symbols: int | None = None,
    device: Device = "auto",
) -> None:
    """Score mutants of a protein, as ProteinGym tables them: log p(mutant) - log p(wild type); below 0, less probable.

    The table comes back with the column `xlstm_score` in nats, `xlstm_score_sd` over several contexts, and
    `xlstm_score_status`: ok, synonymous (0), or why there is no score. Where the table holds DMS_score, its rank
    correlation with the scores is told. The prefix of the wild type and the context are read once for all mutants.

    Args:
        model: Run folder of a training on proteins, model folder, or folder of a published Prot-xLSTM checkpoint.
        mutants: CSV, TSV or Parquet: `mutant` (A10G, A10G:L12P with any of : , ; _ between, or HGVS), or
            `mutated_sequence`, or both; `DMS_score` if there is one.
        output: File to write, .tsv, .csv or .parquet. None: TSV on the standard output.
        wild_type: The protein that was changed: a file of one sequence, or its residues. None: as mutations and
            sequences of the table say together.
        context: File of `sequence context`, for this model: homologs to read first. Several draws are averaged.
        method: forward: whole sequences. infill: each changed site is hidden, the model knows both sides, and several
            mutations are summed; needs a model trained with infill_spans, or a masked one. auto: infill where possible.
        show_wild_type: Let the model read the wild type too, as one more homolog. None: for infill behind a context.
        offset: How far positions of the table run ahead of the wild type: 23 where it begins with residue 24, -1 where
            the table counts from 0.
        mutant_column: Column of the mutations. None: mutant, mutation, variant or hgvs_pro.
        sequence_column: Column of the whole sequences. None: mutated_sequence or sequence.
        measured_column: Column of what was measured. None: DMS_score.
        column: Name of the new column.
        on_bad: Rows that do not fit the wild type or cannot be read: error stops at the first, skip leaves them without
            a score.
        batch_symbols: Most symbols read at a time. None: by device; lower it where memory runs out.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.datasets.sequences.mutant_table import MutantColumns
    from xlstm_apps.recipes import _sequence_fitness as steps

    columns = MutantColumns(mutant=mutant_column, sequence=sequence_column, measured=measured_column)
    asked = steps.Asked(method=method, show_wild_type=show_wild_type, batch_symbols=batch_symbols)
    steps.run(model, mutants, output, wild_type, context, offset, columns, column, on_bad, asked, device)


def infill(
    model: str,
    pattern: str | None = None,
    output: str | None = None,
    patterns_path: str | None = None,
    context: str | None = None,
    num_sequences: int = 1,
    max_gap: int = 50,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    batch_size: int = 64,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Fill gaps in proteins, knowing all that surrounds them: MKT[5-12]GG[*].

    [5] is a gap of five residues, [5-12] of five to twelve, [5-] of five or more, [*] of one or more; there may be any
    number of them, and what stands between is kept. The length of each filling is drawn evenly within its range, since
    positions behind the gap depend on it; a model without rotary positions ends gaps itself. FASTA headers, or the
    columns of a table, give the fillings, their log_likelihood in nats and bits_per_token, to choose among them.

    Args:
        model: Run folder of a training with sequence.infill_spans, model folder, or folder of a published Prot-xLSTM
            checkpoint.
        pattern: The protein with its gaps, in quotes.
        output: File to write, .fa (.fasta, .fna, .faa), .tsv, .csv or .parquet. None: FASTA on the standard output.
        patterns_path: FASTA file of several patterns.
        context: File of `sequence context`, for this model: homologs to read first; several draws take turns.
        num_sequences: How many, for each pattern.
        max_gap: Longest filling of a gap that names no end.
        temperature: 1 draws as the model says, less keeps to what is probable, 0 takes the most probable residue.
        top_k: Draw among the k most probable residues only.
        top_p: Draw among the most probable residues that together reach this probability only.
        batch_size: Proteins at a time.
        seed: Seed of lengths and draws; the same seed and batch_size give the same proteins.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_infill as steps

    filling = steps.Filling(
        num_sequences=num_sequences,
        max_gap=max_gap,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        batch_size=batch_size,
        seed=seed,
    )
    steps.run(model, pattern, patterns_path, output, context, filling, device)
