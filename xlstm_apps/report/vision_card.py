"""What the model cards of vision runs say."""

from __future__ import annotations

from xlstm_apps import __version__
from xlstm_apps.enumeration import first_few

from .card_parts import Card, plain
from .charts import shorten
from .numbers import count
from .run import Run, number
from .sequence_card import accuracy_text, card_results
from .sequence_scores import Comparison
from .vision_data import ImageSummary, image_sizes, pixels_of

USE = """\
In a shell, with this folder as `model`:

```sh
xlstm-apps vision predict model --data.path photos --output predictions.csv
xlstm-apps vision export model --output model.onnx
```

From Python:

```python
import torch

from xlstm_apps.vision import ImageClassifier

model = ImageClassifier.from_pretrained("model")
pixels = torch.rand(1, {channels}, {height}, {width})  # from 0 to 1
print(model.images.classes[model(pixels).argmax()])
```"""


def classification(run: Run) -> Card:
    """The card of a classifier of images."""
    summary = ImageSummary.read(run)
    scores = Comparison.read(run)
    classes = [plain(shorten(name, 40)) for name in summary.classes]
    height, width = next(iter(image_sizes(run)), (224, 224))
    channels = number(run.option("vision.in_chans")) or 3
    words = [f"A Vision-LSTM made by xlstm-apps {__version__}. It tells apart: {first_few(classes, 20)}."]
    words.append(f"It was trained on images of {pixels_of(run) or 'some size'}, and reads others too.")
    if parameters := number(run.facts.get("parameters")):
        words.append(f"It has {count(parameters, 'parameter')}.")
    lines = []
    if summary.sources:
        lines.append(f"Images: {first_few([f'`{plain(source)}`' for source in summary.sources], 5)}")
    parts = {k: summary.number("split", k, "records") for k in ("train", "val", "test")}
    told = [f"{key} {value:,.0f}" for key, value in parts.items() if value]
    if told:
        lines.append(f"Split {summary.record('split').get('rule') or ''}: {', '.join(told)}")
    if start := run.option("from_model"):
        lines.append(f"Began from: `{plain(str(start))}`")
    return Card(
        title=f"Vision-LSTM for {summary.name}",
        about=" ".join(words),
        accuracy=accuracy_text(summary, scores),
        use=USE.format(height=height, width=width, channels=int(channels)),
        data=lines,
        intended_use="For images taken as those it was trained on; where cameras, places or the share of the classes "
        "differ, check it again before relying on it. Not for decisions about patients.",
        pipeline="image-classification",
        tags=("vision",),
        dataset_type="images",
        dataset=summary.name,
        results=card_results(scores),
    )
