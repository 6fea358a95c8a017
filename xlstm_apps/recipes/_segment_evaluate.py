"""The steps of `vision segment evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from rich.console import Console

from xlstm_apps.core.size import count_weights
from xlstm_apps.datasets.images.objects import Separation
from xlstm_apps.datasets.images.segmentation_config import MaskedImages
from xlstm_apps.estimators.segment_saved import Reading, load_segmenter, meaning_of, segment
from xlstm_apps.recipes._segment_run import Scored, comparison_table, counted, read, strange, told
from xlstm_apps.recipes._terminal import showing, table_console, tell
from xlstm_apps.report import write_report
from xlstm_apps.training import RunFolder, files

TASK = "vision-segment-evaluate"


def evaluate(
    model: str,
    data: MaskedImages,
    output: str,
    reading: Reading,
    *,
    objects: Separation,
    smallest: int,
    device: str,
) -> None:
    """Score a model on images with masks, write the folder, show the numbers."""
    console, path = Console(stderr=True), files.check_new_folder(output)
    if smallest < 0:
        raise ValueError(f"smallest={smallest} must not be negative")
    segmenter = load_segmenter(model, device)
    reading.of(segmenter)  # options that do not fit the model say so before anything is read
    images = read(data, console, meaning_of(segmenter.images))
    images.report["notes"] += counted(word for image in images.images for word in strange(image, segmenter.images))
    tell(console, told(images))
    with showing(console, "scoring", len(images)) as step:
        scored = Scored(
            images, range(len(images)), partial(segment, segmenter, reading=reading),
            spacing=segmenter.images.spacing, separation=objects, smallest=smallest, tick=step.advance,
        )  # fmt: skip
    table = [scored.comparison("xlstm-unet" if segmenter.unet.where != "none" else "unet", count_weights(segmenter))]
    folder = RunFolder.create(
        path, TASK, {"data": data, "model": str(model), "reading": reading, "objects": objects, "smallest": smallest},
        parameters=count_weights(segmenter),
        resolved={"unet": asdict(segmenter.unet), "images": asdict(segmenter.images)},
    )  # fmt: skip
    scored.write(path / "evaluation")
    files.write_rows(path / "evaluation" / "comparison.csv", table)
    split = {"rule": "all images", "test": {"records": len(images)}}
    files.write_json(
        path / "data_summary.json", {"quality": images.report, "split": split, "notes": images.report["notes"]}
    )
    if images.rejected:
        files.write_rows(path / "rejected.csv", images.rejected)
    folder.note(status="finished")
    report = write_report(path)
    shown = table_console()
    shown.print(comparison_table(table, len(images), ""))
    tell(shown, [f"results in {path}; see {report}"])
