"""Verbs of `sequence` that are about molecules alone: `like`, `filter` and `evaluate`. They need RDKit.

xlstm-apps sequence filter --data.path generated.smi --keep "mw<=500,qed>=0.5" --alerts pains
xlstm-apps sequence like runs/my-training --data.path actives.smi --output candidates.csv
xlstm-apps sequence evaluate generated.tsv --training runs/my-training
"""

from typing import Literal

from xlstm_apps.datasets.molecules.config import MoleculeSource
from xlstm_apps.datasets.molecules.filters import Alert
from xlstm_apps.training.config import Device


def filter(
    data: MoleculeSource,
    output: str | None = None,
    rejects: str | None = None,
    picture: str | None = None,
    page: str | None = None,
    keep: list[str] | None = None,
    alerts: list[Alert] | None = None,
    contains: str | None = None,
    lacks: str | None = None,
    exclude: list[str] | None = None,
    properties: list[str] | None = None,
) -> None:
    """Write molecules canonically, each once, and keep those that pass; tell how many each filter takes.

    What is no molecule is left out and counted, like everything else that does not pass. Properties: mw, logp, qed, sa
    (synthetic accessibility, 1 easy to 10), tpsa, hbd, hba, rotatable, rings, heavy_atoms, charge.

    Args:
        data: The molecules, and what is made of salts and stereochemistry.
        output: File to write, .smi, .selfies, or .tsv, .csv or .parquet with the properties. None: TSV on the standard
            output.
        rejects: File for what does not pass, with the reason: .tsv, .csv or .parquet.
        picture: File for the structures of the first hundred: .svg.
        page: File for a page of its own with structures, numbers and properties: .html.
        keep: Conditions such as mw<=500,logp<5,qed>=0.5.
        alerts: Catalogues of groups that no molecule may have: pains, brenk, nih, zinc.
        contains: SMARTS that must be there; several parted by spaces, and all must.
        lacks: SMARTS that must not be there; several parted by spaces, and none may.
        exclude: Files of molecules that are known already.
        properties: Properties to write as columns. None: those of `keep`; for all of them: all.
    """
    from xlstm_apps.recipes import _sequence_filter as steps

    wanted = steps.Wanted(
        keep=tuple(keep or ()),
        alerts=tuple(alerts or ()),
        contains=tuple((contains or "").split()),
        lacks=tuple((lacks or "").split()),
    )
    steps.run(data, output, rejects, picture, wanted, exclude or [], properties, page)


def like(
    model: str,
    data: MoleculeSource,
    output: str | None = None,
    picture: str | None = None,
    page: str | None = None,
    num_candidates: int = 100,
    exclude: list[str] | None = None,
    keep: list[str] | None = None,
    alerts: list[Alert] | None = None,
    contains: str | None = None,
    lacks: str | None = None,
    rank_by: Literal["similarity", "perplexity"] = "similarity",
    method: Literal["auto", "context", "train"] = "auto",
    passes: int = 10,
    learning_rate: float = 5e-4,
    draws: int = 1000,
    max_length: int = 200,
    temperature: float = 1.0,
    top_p: float | None = None,
    seed: int = 0,
    device: Device = "auto",
) -> None:
    """Make up new molecules like the ones given, and rank them.

    A copy of the model is trained on the molecules given for a few passes; one that has learned from sets of molecules
    reads them instead, as a prompt. What it then draws is a molecule always.
    Left out is what was given, what is excluded, what comes twice and what filters take. As many draws of the model as
    it was tell what it would have made without them.

    Columns: rank, smiles, similarity (Tanimoto, to the nearest given), nearest (its name), perplexity (of a token),
    drawn (how often), new_scaffold, mw, logp, qed, sa.

    Args:
        model: Run folder of a training on molecules, or model folder.
        data: The molecules to be like, such as actives of an assay.
        output: File to write, .tsv, .csv or .parquet. None: TSV on the standard output.
        picture: File for the structures of the first hundred: .svg.
        page: File for a page of its own with structures, numbers and properties: .html.
        num_candidates: How many to write, at most.
        exclude: Files of molecules that are known already; a run folder stands for its training part.
        keep: Conditions such as mw<=500,logp<5,qed>=0.5.
        alerts: Catalogues of groups that no molecule may have: pains, brenk, nih, zinc.
        contains: SMARTS that must be there; several parted by spaces, and all must.
        lacks: SMARTS that must not be there; several parted by spaces, and none may.
        rank_by: similarity: the most similar first; perplexity: what the model finds most probable first.
        method: context: the model reads the molecules, in several orders; train: a copy learns from them. auto: context
            where the model has learned from sets (data.families).
        passes: How often the copy sees each molecule: more makes the new ones more like them, and less new.
        learning_rate: Of these passes.
        draws: How many molecules are made up.
        max_length: Most tokens of a molecule.
        temperature: 1 draws as the model says, less keeps to what is probable.
        top_p: Draw among the most probable tokens that together reach this probability only.
        seed: Of the order of the molecules and of the draws.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _sequence_like as steps

    filters = steps.FilterConfig(
        keep=tuple(keep or ()),
        alerts=tuple(alerts or ()),
        contains=tuple((contains or "").split()),
        lacks=tuple((lacks or "").split()),
    )
    turning = steps.Turning(
        passes=passes, learning_rate=learning_rate, draws=draws, max_length=max_length, temperature=temperature,
        top_p=top_p, seed=seed,
    )  # fmt: skip
    steps.run(
        model, data, output, picture, num_candidates, exclude or [], filters, rank_by, turning, device, method, page
    )


def evaluate(
    generated: str,
    training: list[str] | None = None,
    reference: list[str] | None = None,
    output: str | None = None,
    page: str | None = None,
    format: Literal["smi", "sdf", "table", "fasta"] | None = None,
    smiles_column: str | None = None,
    max_reference: int | None = None,
    fcd: bool = False,
    baseline: bool = True,
    seed: int = 0,
) -> None:
    """Say how good generated molecules are: valid, distinct, new, diverse, and like a held-out set. As MOSES does.

    valid; unique@1000, unique@10000 of the first valid ones; novel against the training set; int_div (internal
    diversity); against held-out molecules snn (similarity to the nearest), frag and scaf (cosine of the counts of
    fragments and scaffolds), wasserstein_<property>, fcd. Beside them the same of molecules drawn from training.

    Args:
        generated: File of SMILES as they were generated, such as `sequence generate` writes.
        training: What the model was trained on: files, or the run folder of the training, whose training part counts.
        reference: Held-out molecules: files. None: the test part of the run that `training` names.
        output: File to write, .tsv, .csv or .parquet. None: only the table on the standard output.
        page: File for a page with the numbers, structures and properties: .html.
        format: Format of the generated file. None: seen from their content and ending.
        smiles_column: Tables: column of the SMILES. None: found by name.
        max_reference: Draw so many held-out molecules where there are more, which is faster. None: all.
        fcd: Also the Frechet ChemNet Distance, which needs the package fcd_torch and depends on the numbers compared.
        baseline: Also judge as many molecules drawn from training: how good a perfect model would be.
        seed: Of what is drawn.
    """
    from xlstm_apps.recipes import _sequence_evaluate as steps

    compared = steps.Compared(
        training=training or [], reference=reference or [], max_reference=max_reference, fcd=fcd, baseline=baseline,
        seed=seed,
    )  # fmt: skip
    steps.run(generated, compared, output, format, smiles_column, page)
