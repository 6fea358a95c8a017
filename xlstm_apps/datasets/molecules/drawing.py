"""Molecules as pictures: a grid of structures with a line below each, as SVG."""

from collections.abc import Sequence
from typing import Any

from .chemistry import chemistry

WIDTH, HEIGHT = 210, 180
MOST = 100
"""Molecules in a picture."""


def grid(molecules: Sequence[Any], legends: Sequence[str], columns: int = 5) -> str:
    """An SVG of at most `MOST` molecules.

    Args:
        molecules: Of RDKit.
        legends: What stands below each.
        columns: Side by side.
    """
    chemistry()
    from rdkit.Chem.Draw import rdMolDraw2D

    shown = list(molecules[:MOST])
    columns = max(1, min(columns, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    canvas = rdMolDraw2D.MolDraw2DSVG(WIDTH * columns, HEIGHT * rows, WIDTH, HEIGHT)
    canvas.drawOptions().legendFontSize = 14
    canvas.drawOptions().clearBackground = True
    canvas.DrawMolecules(shown, legends=list(legends[: len(shown)]))
    canvas.FinishDrawing()
    return canvas.GetDrawingText()
