"""The steps of `vision explain`: what a model looked at, as pictures beside the images."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.nn.functional import interpolate

from xlstm_apps.datasets.images import ImageSet, ImageSource, OwnSizes
from xlstm_apps.datasets.images.batches import as_floats
from xlstm_apps.estimators.vision_saved import load_classifier
from xlstm_apps.recipes._terminal import showing, tell
from xlstm_apps.recipes._vision_run import left_out, listed
from xlstm_apps.recipes._vision_use import batches_of, blocks
from xlstm_apps.training import files
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.explaining import MOST_PATCHES as MANY
from xlstm_apps.vision.explaining import grad_cam, read_patches, relevance

MOST = 200
SIDE = 192
"""Pixels across each of the pictures at least, where they are not longer for it than `LONGEST`."""
LONGEST = 2048
_STEM_BYTES = 200
"""Of the name of an image that its picture is called after; file systems take 255 in all."""
_COLOURS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float32
)  # of the map Viridis, which rises evenly in brightness
_PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>What {model} looked at</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1250px; padding: 0 1rem }}
figure {{ display: inline-block; margin: 0 1.2rem 1.4rem 0; vertical-align: top }}
figcaption {{ max-width: {width}px; overflow-wrap: anywhere }}
img {{ max-width: 100% }}
.key {{ color: GrayText; max-width: 70ch }}
</style>
<h1>What {model} looked at</h1>
<p class="key">Left: the image as the model sees it. Middle: how much of each patch reaches what the classifier reads,
along the weights of the mLSTM through all blocks; what the patches it reads keep of themselves is cut off. Right:
Grad-CAM, where the class is seen. Bright is much; each map on its own scale.</p>
{figures}
</html>
"""


def explain(
    model: str,
    data: ImageSource,
    output: str,
    target: str | None,
    block: int | None,
    most: int,
    own_size: bool,
    device: str,
) -> None:
    """Read the images, draw the maps, write the folder."""
    console, path = Console(stderr=True), files.check_new_folder(output)
    if not 1 <= most <= MOST:
        raise ValueError(f"max_images={most}: give 1 to {MOST}; maps are for looking at")
    classifier = load_classifier(model, device)
    classes = classifier.images.classes
    if target is not None and target not in classes:
        raise ValueError(f"target: the model knows no class {target!r}; it knows {', '.join(classes[:12])}")
    listing = listed(data, console, labelled=False)
    count = len(listing.records)
    listing.records = listing.records[:most]
    rows, figures, bad = [], [], {}
    shown = None if target is None else classes.index(target)
    with files.replacing_folder(path) as aside, showing(console, "explaining", len(listing.records)) as step:
        for images, rejected, records in blocks(classifier, data, listing, own_size):
            bad |= rejected
            for n, image in enumerate(_seen(classifier, images, own_size)):
                if own_size and (patches := math.prod(classifier.model.vision.grid_of(tuple(image.shape[1:])))) > MANY:
                    bad[images.ids[n]] = f"has {patches:,} patches at its own size, and at most {MANY:,} can be shown"
                    continue
                row, picture = _one(classifier, image, shown, block)
                name = f"{len(rows) + 1:03}_{_short(Path(images.ids[n]).stem)}.png"
                packed = io.BytesIO()
                picture.save(packed, "PNG")
                (aside / name).write_bytes(packed.getvalue())
                rows.append({"path": images.ids[n], "picture": name, **row})
                figures.append(_figure(images.ids[n], row, packed.getvalue()))
            step.advance(len(records))
        if not rows:
            name, reason = next(iter(bad.items()))
            raise ValueError(f"none of {len(bad):,} images can be shown: {name} {reason}")
        files.write_rows(aside / "explain.csv", rows)
        page = _PAGE.format(model=html.escape(Path(model).name), width=3 * SIDE, figures="\n".join(figures))
        files.write_text(aside / "explain.html", page)
    tell(console, (f"note: {note}" for note in listing.notes))
    tell(console, left_out(bad))
    if count > most:
        tell(console, [f"note: the first {most:,} of {count:,} images; more with --max_images"])
    tell(Console(), [f"{len(rows):,} images in {path}; see {path / 'explain.html'}"])


def _seen(classifier: ImageClassifier, images: ImageSet | None, own_size: bool) -> Iterator[Tensor]:
    """Images [C, H, W] from 0 to 1, as the model gets them."""
    if images is not None:
        batches = batches_of(classifier, images, own_size)
        for n in range(len(images)):
            yield batches[n] if isinstance(batches, OwnSizes) else as_floats(batches.__getitems__([n])["pixels"][0])


def _one(classifier: ImageClassifier, image: Tensor, target: int | None, block: int | None) -> tuple[dict, Any]:
    """What is said of an image [C, S, S], and the picture of it and its maps."""
    from PIL import Image

    x = image[None].to(next(classifier.parameters()).device)
    with torch.no_grad():
        said = classifier(x).float().softmax(-1)[0].cpu().numpy()
    guess = int(said.argmax())
    shown = guess if target is None else target
    names = classifier.images.classes
    row = {"predicted": names[guess], "p_predicted": float(f"{said[guess]:.4g}"), "map_of": names[shown],
           "p_map_of": float(f"{said[shown]:.4g}")}  # fmt: skip
    flow = relevance(classifier, x)[0].float().cpu()
    # What the patches that are read, in the corners, keep of themselves would leave all others dark.
    own = read_patches(classifier.model, flow.numel()) or []
    others = [n for n in range(flow.numel()) if n not in own]
    if others:
        flow = flow.clamp(max=float(flow.flatten()[others].max()))
    maps = [flow, grad_cam(classifier, x, torch.tensor([shown], device=x.device), block)[0]]
    times = max(1, min(-(-SIDE // image.shape[-1]), LONGEST // max(image.shape[1:])))
    plain = image.expand(3, -1, -1).permute(1, 2, 0).cpu().numpy() * 255
    plain = plain.repeat(times, 0).repeat(times, 1)
    vision = classifier.model.vision
    steps = zip(flow.shape, vision.stride or vision.patch_size, vision.patch_size, strict=True)
    reach = tuple(times * ((n - 1) * stride + patch) for n, stride, patch in steps)
    parts = [plain, *(overlay(plain, one.float().cpu(), reach) for one in maps)]
    gap = np.full((plain.shape[0], 6, 3), 255, np.float32)
    strip = np.concatenate([parts[0], gap, parts[1], gap, parts[2]], 1)
    return row, Image.fromarray(strip.clip(0, 255).astype(np.uint8))


def overlay(plain: np.ndarray, values: Tensor, reach: tuple[int, ...]) -> np.ndarray:
    """A map [h, w] in colours over a picture [H, W, 3] from 0 to 255; the map reaches over so many pixels, which may be
    more than there are, where patches are not full."""
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low) if high > low else torch.zeros_like(values)
    grown = interpolate(scaled[None, None], reach, mode="bilinear", align_corners=False)[0, 0].numpy()
    grown = grown[: plain.shape[0], : plain.shape[1]]
    place = grown * (len(_COLOURS) - 1)
    below = np.minimum(place.astype(int), len(_COLOURS) - 2)
    share = (place - below)[..., None]
    colours = _COLOURS[below] * (1 - share) + _COLOURS[below + 1] * share
    shade = plain.mean(-1, keepdims=True)
    return 0.45 * shade + 0.55 * colours


def _short(stem: str) -> str:
    return stem.encode()[:_STEM_BYTES].decode(errors="ignore")


def _figure(name: str, row: dict[str, Any], png: bytes) -> str:
    words = f"{row['predicted']} ({row['p_predicted']:.0%})"
    if row["map_of"] != row["predicted"]:
        words += f", map of {row['map_of']} ({row['p_map_of']:.0%})"
    data = base64.b64encode(png).decode()
    caption = f"{html.escape(name)}<br><b>{html.escape(words)}</b>"
    alt = html.escape(f"Maps of {name}", quote=True)
    return f'<figure><img alt="{alt}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
