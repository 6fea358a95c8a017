"""What the model cards of segmentation runs say."""

from __future__ import annotations

from xlstm_apps import __version__
from xlstm_apps.enumeration import first_few

from .card_parts import Card, markdown, plain
from .charts import shorten
from .numbers import count, significant
from .run import Run, number
from .segment_scores import MEASURES, Scores, title
from .summary import DataSummary

USE = """\
In a shell, with this folder as `model`:

```sh
xlstm-apps vision segment predict model --data.path images --output masks
```

From Python:

```python
import numpy as np

from xlstm_apps.estimators.segment_saved import Reading, load_segmenter, segment

model = load_segmenter("model")
pixels = np.random.rand({shape}).astype("float32")  # channels, then the image, of any size
classes = segment(model, pixels, Reading())  # 0 = background
```"""


def segmentation(run: Run) -> Card:
    """The card of a segmentation model."""
    summary, scores = DataSummary.read(run), Scores.read(run)
    names = [str(row.get("name")) for row in summary.items("quality", "classes") if isinstance(row, dict)]
    dims = int(number(run.option("images.dims")) or 2)
    source = str(run.option("data.path") or "images").rstrip("/").rpartition("/")[2]
    words = [
        f"A U-Net with xLSTM blocks made by xlstm-apps {__version__}, for {'volumes' if dims == 3 else 'pictures'}."
    ]
    words.append(f"It tells apart: {first_few([plain(shorten(name, 40)) for name in names], 20)}.")
    if parameters := number(run.facts.get("parameters")):
        words.append(f"It has {count(parameters, 'parameter')}.")
    lines = [f"Images: `{plain(source)}`"]
    parts = {key: summary.number("split", key, "records") for key in ("train", "val", "test")}
    if told := [f"{key} {value:,.0f}" for key, value in parts.items() if value]:
        lines.append(f"Split {summary.record('split').get('rule') or ''}: {', '.join(told)}")
    accuracy, results = "Not evaluated yet.", []
    if scores is not None:
        keys = [key for key in ("dice", "iou", "hd95", "f1") if key in scores.frame.columns]
        rows = [
            [title(name), *(significant(scores.value(n, key), 4) for key in keys)]
            for n, name in enumerate(scores.names)
        ]  # fmt: skip
        accuracy = markdown(["model", *(MEASURES[key][0] for key in keys)], rows)
        results = [(key, MEASURES[key][0], scores.value(0, key)) for key in keys]
    channels = int(number(run.option("images.in_chans")) or 1)
    return Card(
        title=f"Segmentation of {source}",
        about=" ".join(words),
        accuracy=accuracy,
        use=USE.format(shape=", ".join(map(str, (channels, *((32,) if dims == 3 else ()), 256, 256)))),
        data=lines,
        intended_use="For images taken as those it was trained on; where microscopes, scanners or stains differ, check "
        "it again before relying on it. Not for decisions about patients.",
        pipeline="image-segmentation",
        tags=("vision", "segmentation"),
        dataset_type="images",
        dataset=source,
        results=results,
    )
