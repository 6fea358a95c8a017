"""Picture of what reading homologs is worth, from the rows of protein_families.py: docs/protein-context.svg.

python benchmarks/protein_plot.py
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from grid import RESULTS, Row, read
from protein_families import NAME

PICTURE = Path(__file__).parent.parent / "docs" / "protein-context.svg"
TITLES = {
    "uniprot": "58 held-out families, 60 % identity and more",
    "relatives": "dehydrogenases, 13 % identity on average",
}
COLOURS = {"real": "#0a7d6c", "shuffled": "#b4622d"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 180, 50, 40, 70


def panel(title: str, rows: list[Row], left: float) -> list[str]:
    """Axes and a line of each control."""
    counts = sorted({int(row["homologs"]) for row in rows})
    values = [float(row["perplexity"]) for row in rows]
    low, high = min(values), max(values)
    margin = 0.08 * (high - low)
    low, high = low - margin, high + margin

    def place(count: float, value: float) -> tuple[float, float]:
        across = left + WIDTH * (count - counts[0]) / (counts[-1] - counts[0])
        return across, TOP + HEIGHT * (high - value) / (high - low)

    out = [
        f'<text x="{left}" y="{TOP - 16}" font-weight="600">{escape(title)}</text>',
        f'<path d="M{left} {TOP}V{TOP + HEIGHT}H{left + WIDTH}" fill="none" stroke="#8a8f98"/>',
    ]
    for count in counts:
        x, _ = place(count, low)
        out.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{count}</text>')
    for share in (0.0, 0.5, 1.0):
        value = low + margin + share * (high - low - 2 * margin)
        y = place(counts[0], value)[1]
        out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.1f}</text>')
        out.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#8a8f98" stroke-opacity=".25"/>')
    for control, colour in COLOURS.items():
        own = {int(row["homologs"]): float(row["perplexity"]) for row in rows if row["control"] == control}
        points = [place(count, own[count]) for count in sorted(own)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        x, y = points[-1]
        name = "as they are" if control == "real" else control
        out.append(f'<text x="{x - 6:.1f}" y="{y - 14:.1f}" text-anchor="end" fill="{colour}">{name}</text>')
    return out


def picture(rows: list[Row]) -> str:
    shown = [row for row in rows if row["measure"] == "in-context"]
    parts: list[str] = []
    for number, (family, title) in enumerate(TITLES.items()):
        own = [row for row in shown if row["family"] == family]
        parts += panel(title, own, LEFT + number * (WIDTH + GAP))
    width, height = LEFT + 2 * WIDTH + GAP + 20, TOP + HEIGHT + 50
    parts.append(
        f'<text x="{width / 2}" y="{height - 10}" text-anchor="middle">relatives read before the protein; '
        "perplexity per residue</text>"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="12" fill="#6b7078">', *parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(read(RESULTS / NAME)), encoding="utf-8")
