"""Find what every pixel of an image belongs to: pictures and volumes, classes and single objects.

xlstm-apps vision segment train --data.path FOLDER_WITH_images_AND_masks
"""

from typing import Literal

from xlstm_apps.datasets.images.segmentation_config import MaskedImages, SegmentData, SegmentSource
from xlstm_apps.training.config import Device, FitConfig
from xlstm_apps.vision.segment_config import SegmentAugment
from xlstm_apps.vision.unet_config import SMALL, UNetConfig

Separation = Literal["components", "watershed"]
Baseline = Literal["pixels", "unet"]
FIT = FitConfig(patience=10)


def train(
    data: SegmentData,
    unet: UNetConfig = SMALL,
    augment: SegmentAugment = SegmentAugment(),  # noqa: B008 - frozen
    fit: FitConfig = FIT,
    baselines: list[Baseline] | None = None,
    objects: Separation = "components",
    run_dir: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Train a U-Net whose feature maps an xLSTM reads, and compare it on held-out images.

    Leaves a run folder with the model, scores of every image, overlays and report.html.

    Args:
        data: Images and masks, what masks mean, and how they are split.
        unet: The network; `where` says what the xLSTM reads.
        augment: Random changes of images and masks in training.
        fit: How to train.
        baselines: What to compare with: `pixels`, a regression on brightness around each pixel, done in seconds;
            `unet`, a plain U-Net with as many weights, trained alike. None: pixels.
        objects: How found objects are told apart where objects are scored.
        run_dir: Folder for the results. None: runs/vision-segment-<folder>-<time>; with resume: the newest of those.
        seed: Seed of weights, order of patches and augmentation.
        resume: Go on where a killed or stopped run left off, to the same result.
    """
    from xlstm_apps.recipes import _segment_train as steps
    from xlstm_apps.recipes._run import finish

    job = steps.prepare(
        data, unet, augment, fit, baselines=["pixels"] if baselines is None else baselines, objects=objects,
        run_dir=run_dir, seed=seed, resume=resume,
    )  # fmt: skip
    if job is None:
        return  # finished before; said so
    model = steps.fit_model(job, resume)
    steps.score(job, {"xlstm-unet" if job.plan.unet.where != "none" else "unet": model} | steps.fit_networks(job))
    finish(job.folder, job.started, steps.results(job))


def predict(
    model: str,
    data: SegmentSource,
    output: str,
    objects: Literal["none", "components", "watershed"] = "none",
    smallest: int = 0,
    window: list[int] | None = None,
    overlap: float = 0.5,
    flips: bool = False,
    overlays: bool = False,
    batch_size: int = 4,
    device: Device = "auto",
) -> None:
    """Write a mask for every image of a folder, with the values that masks had in training.

    Masks of pictures are PNG, those of volumes are of the same kind as these, in the same place and orientation.
    Volumes in .nii and .npy are read part by part, and may be larger than memory. `masks.csv` has a row for each.

    Args:
        model: Run folder of `vision segment train`, or folder of a saved model.
        data: The images.
        output: Folder to make.
        objects: Write a number for each object instead of classes: what hangs together, or cut at its waists.
        smallest: Leave out found objects of fewer pixels.
        window: Read images in parts of this size. None: as large as in training; empty ([]): whole.
        overlap: Share of a part that the next one sees again.
        flips: Average over mirror images: four times the work in pictures, eight times in volumes, a little better.
        overlays: Also draw outlines of what was found into pictures, in the folder `overlays`.
        batch_size: Parts at a time.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.estimators.segment_saved import Reading
    from xlstm_apps.recipes import _segment_predict as steps

    reading = Reading(window=window, overlap=overlap, flips=flips, batch_size=batch_size)
    steps.predict(
        model, data, output, reading, objects=objects, smallest=smallest, overlays=overlays, device=device
    )  # fmt: skip


def evaluate(
    model: str,
    data: MaskedImages,
    output: str,
    objects: Separation = "components",
    smallest: int = 0,
    window: list[int] | None = None,
    overlap: float = 0.5,
    flips: bool = False,
    batch_size: int = 4,
    device: Device = "auto",
) -> None:
    """Score a model on images with masks: overlap, distance of outlines, objects; a table of images, the worst drawn.

    Args:
        model: Run folder of `vision segment train`, or folder of a saved model.
        data: Images and masks, whose values are those of training.
        output: Folder to make.
        objects: How found objects are told apart.
        smallest: Leave out found objects of fewer pixels.
        window: Read images in parts of this size. None: as large as in training; empty ([]): whole.
        overlap: Share of a part that the next one sees again.
        flips: Average over mirror images.
        batch_size: Parts at a time.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.estimators.segment_saved import Reading
    from xlstm_apps.recipes import _segment_evaluate as steps

    reading = Reading(window=window, overlap=overlap, flips=flips, batch_size=batch_size)
    steps.evaluate(model, data, output, reading, objects=objects, smallest=smallest, device=device)
