"""What the images were: how many, how large, what was left out, how they were split."""

from __future__ import annotations

from collections.abc import Iterable

from xlstm_apps.enumeration import first_few

from . import charts
from .blocks import Block, Facts, Notice, Part, Section, Timeline
from .numbers import ABSENT, count
from .run import Run, number
from .sequence_data import SequenceSummary, label_table
from .summary import PARTS

MAX_REJECTED = 5


class ImageSummary(SequenceSummary):
    """The report of a set of images, with split and labels, every field optional."""


def data(run: Run) -> Section | None:
    """Images, sizes, findings, split and classes."""
    summary = ImageSummary.read(run)
    if not summary.facts:
        return None
    blocks: list[Block] = [*_left_out(run, summary)]
    blocks += summary.found([str(note) for note in summary.items("quality", "notes")])
    blocks += summary.found([str(note) for note in summary.items("notes")], "Chosen for this run:")
    blocks.append(Facts(items=list(_facts(run, summary))))
    blocks += [block for block in (_timeline(summary), label_table(summary)) if block is not None]
    rule = summary.record("split").get("rule")
    return Section(id="data", title="Data", lead=f"Split: {rule}." if rule else "", blocks=blocks)


def _left_out(run: Run, summary: ImageSummary) -> list[Notice]:
    left = {k: n for k, v in summary.record("quality", "left_out").items() if (n := number(v))}
    if not left:
        return []
    text = "; ".join(f"{count(n, 'file')} left out: {reason}" for reason, n in left.items()) + "."
    frame = run.table("rejected.csv", "path", text=("path", "reason"))
    if frame is not None:
        names = [charts.shorten(str(name), 100) for name in frame["path"].to_list()[:MAX_REJECTED]]
        text += f" {'First' if len(frame) > MAX_REJECTED else 'Namely'}: {', '.join(names)}."
    return [Notice(title="Not everything was used.", text=text, tone="warning")]


def _facts(run: Run, summary: ImageSummary) -> Iterable[tuple[str, str]]:
    yield "Source", first_few([charts.shorten(source, 200) for source in summary.sources], 5) or ABSENT
    kept, read = summary.number("quality", "kept"), summary.number("quality", "images")
    if kept is not None:
        yield "Images", f"{kept:,.0f}" + (f" of {read:,.0f} found" if read is not None and read != kept else "")
    for key in ("height", "width"):
        low, middle, high = (summary.number("quality", key, name) for name in ("least", "median", "most"))
        if low is not None and high is not None:
            span = f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}, median {middle:,.0f}"
            yield f"{key.capitalize()} in pixels", span
    channels = summary.number("quality", "channels")
    if channels is not None:
        yield "Colours", "grey" if channels == 1 else "colour"
    if pixels := pixels_of(run):
        fits = {"crop": "the middle cut out", "pad": "a border added", "squash": "the shape changed"}
        yield "Read as", f"{pixels}, {fits.get(str(run.option('images.fit')), '')}".rstrip(", ")
    if copies := summary.number("quality", "copies"):
        yield "Copies", f"{count(copies, 'image')} with the pixels of another one"


def image_sizes(run: Run) -> list[tuple[int, int]]:
    """Height and width that images are brought to, or all of those, the most usual first."""
    shapes = run.option("images.shapes") or [run.option("images.shape")]
    found = [(h, w) for h, w in (shape for shape in shapes if shape) if isinstance(h, int) and isinstance(w, int)]
    size = number(run.option("images.img_size"))
    return found or ([] if size is None else [(int(size), int(size))])


def pixels_of(run: Run) -> str:
    """Width and height of the images, in words."""
    words = [f"{width} x {height}" for height, width in image_sizes(run)]
    return f"{' or '.join([', '.join(words[:-1]), words[-1]] if len(words) > 1 else words)} pixels" if words else ""


def _timeline(summary: ImageSummary) -> Timeline | None:
    sizes = {k: summary.number("split", k, "records") or 0.0 for k in PARTS}
    total = sum(sizes.values())
    if not total:
        return None
    parts = [
        Part(label=PARTS[k][0], share=size / total, detail=count(size, "image"), role=PARTS[k][1])
        for k, size in sizes.items()
        if size
    ]
    return Timeline(title="Parts", parts=parts)
