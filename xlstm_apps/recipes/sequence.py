"""Learn the language of sequences: DNA, proteins, molecules, text.

xlstm-apps sequence validate --data.path genome.fa.gz
xlstm-apps sequence train --data.path genome.fa.gz
"""

from typing import Literal

from xlstm_apps.biosequence.config import HeadConfig, SequenceConfig
from xlstm_apps.biosequence.sizes import PREDICTOR, SMALL
from xlstm_apps.core.config import xLSTMConfig
from xlstm_apps.datasets.sequences.config import LabelledSource, SequenceData, SequenceSource
from xlstm_apps.training.config import Device, FitConfig

AlphabetName = Literal["dna", "protein", "smiles", "text"]
Network = Literal["lstm", "transformer"]
FIT = FitConfig()


def train(
    data: SequenceData,
    sequence: SequenceConfig = SequenceConfig(),  # noqa: B008 - frozen
    backbone: xLSTMConfig = SMALL,
    fit: FitConfig = FIT,
    from_model: str | None = None,
    baselines: list[Network] | None = None,
    run_dir: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Train a language model of sequences, and compare it with Markov models on a held-out part.

    Leaves a run folder with the model, scores and report.html.

    Args:
        data: The sequences, and how they are cut and split.
        sequence: Alphabet, objective, symmetry.
        backbone: The xLSTM inside.
        fit: How to train.
        from_model: Go on from the model of this run or folder, which fixes `sequence` and `backbone`. The learning rate
            is a third of the usual one unless given.
        baselines: More to compare with, beside Markov models: networks with as many weights, trained alike.
        run_dir: Folder for the results. None: runs/sequence-<file>-<time>; with resume: the newest of those.
        seed: Seed of weights, order of batches and dropout.
        resume: Go on where a killed or stopped run left off, to the same result.
    """
    from xlstm_apps.recipes import _sequence_train as steps
    from xlstm_apps.recipes._run import finish
    from xlstm_apps.recipes._sequence_run import results

    job = steps.prepare(
        data, sequence, backbone, fit, from_model=from_model, baselines=baselines or [], run_dir=run_dir, seed=seed,
        resume=resume,
    )  # fmt: skip
    if job is None:
        return  # finished before; said so
    model = steps.fit_model(job, resume)
    networks = steps.fit_networks(job)
    steps.score(job, model, networks)
    verb = "score" if job.plan.sequence.objective == "causal" else "embed"
    finish(job.folder, job.started, results(job.folder, verb))


def finetune(
    data: SequenceData,
    head: HeadConfig = HeadConfig(),  # noqa: B008 - frozen
    sequence: SequenceConfig = SequenceConfig(objective="masked"),  # noqa: B008 - frozen
    backbone: xLSTMConfig = PREDICTOR,
    fit: FitConfig = FIT,
    from_model: str | None = None,
    head_only: bool = False,
    balanced: bool = False,
    baselines: bool = True,
    run_dir: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Train a model to predict classes, labels or numbers of sequences, or of their symbols, and compare it.

    Beside it stand linear models of k-mers and a convolutional network with as many weights. Leaves a run folder with
    the model, scores and report.html.

    Args:
        data: The sequences with their labels, and how they are split. Of records longer than `context_length` the
            middle is read.
        head: What is to be predicted; what is left open is seen from the labels.
        sequence: Alphabet and symmetry, where there is no from_model.
        backbone: The xLSTM inside, where there is no from_model.
        fit: How to train.
        from_model: Go on from the model of this run or folder, which fixes `sequence` and `backbone` but for symmetry
            and dropout. None: from scratch.
        head_only: Leave that model as it is and train the head alone, which is fast.
        balanced: Let every class count alike in training, however rare it is.
        baselines: Train the models to compare with, too.
        run_dir: Folder for the results. None: runs/sequence-finetune-<file>-<time>; with resume: the newest of those.
        seed: Seed of weights, order of batches and dropout.
        resume: Go on where a killed or stopped run left off, to the same result.
    """
    from xlstm_apps.recipes import _sequence_finetune as steps
    from xlstm_apps.recipes._run import finish
    from xlstm_apps.recipes._sequence_run import results

    job = steps.prepare(
        data, head, sequence, backbone, fit, from_model=from_model, head_only=head_only, balanced=balanced,
        baselines=baselines, run_dir=run_dir, seed=seed, resume=resume,
    )  # fmt: skip
    if job is None:
        return  # finished before; said so
    steps.score(job, steps.fit_model(job, resume))
    finish(job.folder, job.started, results(job.folder, "predict"))


def predict(
    model: str,
    data: SequenceSource,
    output: str | None = None,
    batch_symbols: int | None = None,
    device: Device = "auto",
) -> None:
    """Predict classes, labels or numbers of new sequences with a fine-tuned model.

    Columns: id, name (of regions), start (from 0), length, predicted (the most probable class, labels above 1/2, or the
    number) and p_<class>. Models of symbols give one row for each: id, name, position (from 1), symbol, predicted,
    p_<class>.

    Args:
        model: Run folder of `finetune`, or folder of a saved model or estimator.
        data: The sequences; with regions_path, regions of them.
        output: File to write, .tsv, .csv or .parquet. None: TSV on the standard output.
        batch_symbols: Most symbols read at a time. None: by device; lower it where memory runs out.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_predict as steps

    steps.predict(model, data, output, batch_symbols, device)


def prepare(data: LabelledSource, output: str, alphabet: AlphabetName = "dna") -> None:
    """Read and clean files of sequences once, into a folder that all other verbs take as --data.path.

    Args:
        data: The files, and what is known about each sequence.
        output: Folder to make.
        alphabet: Which symbols the files hold.
    """
    from xlstm_apps.recipes import _sequence_prepare as steps

    steps.prepare(data, output, alphabet)


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
    context: str | None = None,
    batch_symbols: int | None = None,
    device: Device = "auto",
) -> None:
    """Say how probable a language model finds each record, or region, and on request each of its symbols.

    Columns: id, name (of regions), start (from 0), length, n_scored, nll (-log p in nats, summed), nll_per_token, ppl,
    bits_per_token, mode (causal, or pll: each symbol hidden once), strand, n_ambiguous (such as N: read, not scored),
    status (ok; ambiguous: all symbols are; too_short). A chromosome takes no more memory than a gene.

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
        context: File of `sequence context`, homologs or molecules to read first; the mean over several draws. Models of
            sets of molecules: also the molecules themselves, as .smi, .sdf, .csv, ...
        batch_symbols: Most symbols read at a time. None: by the width of the model; lower it where memory runs out.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_score as steps

    reading = steps.Reading(
        strands=strands, context_length=context_length, window=window, overlap=overlap, passes=passes,
        batch_symbols=batch_symbols,
    )  # fmt: skip
    steps.score(model, data, output, per_base, reading, device, context)


def embed(
    model: str,
    data: SequenceSource,
    output: str,
    layer: int = -1,
    pooling: Literal["mean", "last", "max", "none"] = "mean",
    dtype: Literal["float32", "float16"] = "float32",
    context_length: int = 0,
    window: int | None = None,
    overlap: int | None = None,
    batch_symbols: int | None = None,
    device: Device = "auto",
) -> None:
    """Write what a model, fine-tuned or not, makes of each record or region: a vector each, or one per symbol.

    Args:
        model: Run folder of a training, model folder, or folder of a published DNA-xLSTM checkpoint.
        data: The sequences; with regions_path, regions of them.
        output: File to write: .npz (features, id, start, length, strand; per symbol also offsets, the borders of the
            records), or .parquet (features as one column of arrays; per symbol id and position, from 1).
        layer: Behind how many blocks: 0 = embeddings. -1: behind the last one, normalised.
        pooling: How symbols are summed up; last: where the model has read all. none: one vector per symbol.
        dtype: float16 takes half the room.
        context_length: Regions: symbols beside each that are read, but not part of the result.
        window: Read records in windows of so many symbols; where they overlap, the mean counts. None: only what is too
            long for a model that reads both ways.
        overlap: Symbols that a window shares with the next. None: an eighth of it.
        batch_symbols: Most symbols read at a time. None: by the width of the model; lower it where memory runs out.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_embed as steps

    wanted = steps.Wanted(
        layer=layer, pooling=pooling, dtype=dtype, context_length=context_length, window=window, overlap=overlap,
        batch_symbols=batch_symbols,
    )  # fmt: skip
    steps.embed(model, data, output, wanted, device)


def generate(
    model: str,
    output: str | None = None,
    prompt: str | None = None,
    prompts_path: str | None = None,
    scaffold: str | None = None,
    num_sequences: int = 1,
    min_length: int = 0,
    max_length: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    valid: bool = False,
    context: str | None = None,
    page: str | None = None,
    batch_size: int = 64,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Make up sequences with a causal model, from nothing or from prompts.

    FASTA headers, or the columns of a table, say how probable the model finds what it added: log_likelihood in nats, as
    `score` gives it, and bits_per_token; `ended` is yes where the model itself came to an end.

    Args:
        model: Run folder of a training, model folder, or folder of a published DNA-xLSTM checkpoint.
        output: File to write, .fa (.fasta, .fna, .faa), .tsv, .csv or .parquet, molecules also .smi or .selfies. None:
            FASTA on the standard output.
        prompt: What the sequences begin with. None: nothing.
        prompts_path: File of several prompts, FASTA or any other of `data.path`.
        scaffold: Molecules: SMILES with points to attach at, c1ccc(*)cc1, that each is to hold; implies valid.
        num_sequences: How many, for each prompt.
        min_length: Fewest symbols to add.
        max_length: Most symbols to add. None: 1000, of a molecule 200.
        temperature: 1 draws as the model says, less keeps to what is probable, 0 takes the most probable symbol.
        top_k: Draw among the k most probable symbols only.
        top_p: Draw among the most probable symbols that together reach this probability only.
        valid: Molecules: emit none that RDKit does not read. What is none is drawn anew; where that seldom helps, it is
            drawn on from where it went wrong, among the tokens that can still become a molecule.
        context: File of `sequence context`, homologs or molecules to read first; several draws take turns. Models of
            sets of molecules: also the molecules themselves, as .smi, .sdf, .csv, ...
        page: Molecules: file for a page with structures, how many are molecules, distinct and new, and properties;
            beside training where the model is a run: .html.
        batch_size: Sequences at a time.
        seed: Seed of the draws; the same seed and batch_size give the same sequences.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_generate as steps

    drawing = steps.Drawing(
        num_sequences=num_sequences, min_length=min_length, max_length=max_length, temperature=temperature,
        top_k=top_k, top_p=top_p, batch_size=batch_size, seed=seed, valid=valid,
    )  # fmt: skip
    steps.generate(model, prompt, prompts_path, output, drawing, device, context, page, scaffold)
