"""Made-up proteins beside their family.

xlstm-apps sequence designs made_up.fa family.a3m --training runs/proteins
"""


def designs(
    made: str,
    family: str,
    page: str = "designs.html",
    output: str | None = None,
    context: str | None = None,
    training: list[str] | None = None,
    seed: int = 0,
) -> None:
    """Compare proteins that were made up with the family they are to belong to: a page, and a table.

    Tells how near each is to the nearest member (share of its residues that are the same when both are aligned), how
    near to what the model was trained on, and how length and composition lie beside the family's. Members of the family
    are compared with one another the same way. Perplexities are taken from what `sequence generate` wrote.

    Args:
        made: Designs: FASTA or a table, such as `sequence generate` and `sequence infill` write.
        family: Members: A3M, Stockholm, FASTA, a table; plain or packed.
        page: File for the page: .html.
        output: File for a row per design: .tsv, .csv or .parquet; `-`: TSV on the standard output. None: only the page.
        context: File of `sequence context` that the designs were made behind: how near they are to the members in it.
        training: Run of the training, or files of the proteins the model was trained on: how new the designs are.
        seed: Of the members that are drawn for comparison, of a family of more than 200.
    """
    from xlstm_apps.recipes import _sequence_designs as steps

    steps.run(made, family, page, output, context, training or [], seed)
