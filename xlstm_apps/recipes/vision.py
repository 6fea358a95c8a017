"""Learn to tell images apart, from folders of them to a report.

xlstm-apps vision train --data.path photos
xlstm-apps vision predict runs/vision-photos-... --data.path new_photos
"""

from typing import Literal

from xlstm_apps.datasets.images.config import ImageData, ImageSource, LabelledImages
from xlstm_apps.training.config import Device, FitConfig
from xlstm_apps.vision.training_config import AugmentConfig, NetworkConfig

Baseline = Literal["logistic", "resnet", "vit"]
FIT = FitConfig(max_epochs=60, weight_decay=0.05, patience=15)
FINETUNING = FitConfig(max_epochs=20, weight_decay=0.05, patience=5)


def train(
    data: ImageData,
    network: NetworkConfig = NetworkConfig(),  # noqa: B008 - frozen
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008 - frozen
    fit: FitConfig = FIT,
    ema: float = 0.99,
    balanced: bool = False,
    baselines: list[Baseline] | None = None,
    run_dir: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Train a Vision-LSTM to tell classes of images apart, and compare it on a held-out part.

    Leaves a run folder with the model, scores and report.html.

    Args:
        data: The images, and how they are split.
        network: Which network.
        augment: How training images are changed at random.
        fit: How to train.
        ema: Share of the running average of the weights that stays at every step; the average is what is used. 0: none.
        balanced: Let every class count alike in training, however rare it is.
        baselines: What to compare with: `logistic` regression of pixels, a `resnet` or a `vit` with about as many
            weights, trained alike. None: logistic. An empty list: only the most frequent class.
        run_dir: Folder for the results. None: runs/vision-<folder>-<time>; with resume: the newest of those.
        seed: Seed of weights, order of batches and augmentation.
        resume: Go on where a killed or stopped run left off, to the same result.
    """
    from xlstm_apps.recipes import _vision_train as steps

    steps.train(
        "vision", data, network, augment, fit, from_model=None, head_only=False, ema=ema, layer_decay=1.0,
        balanced=balanced, baselines=baselines, run_dir=run_dir, seed=seed, resume=resume,
    )  # fmt: skip


def finetune(
    from_model: str,
    data: ImageData,
    network: NetworkConfig = NetworkConfig(),  # noqa: B008 - frozen
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008 - frozen
    fit: FitConfig = FINETUNING,
    head_only: bool = False,
    ema: float = 0.99,
    layer_decay: float = 0.8,
    balanced: bool = False,
    baselines: list[Baseline] | None = None,
    run_dir: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> None:
    """Go on from a trained model, on other images, with other classes or at another resolution.

    Args:
        from_model: Run or model folder, or file of published Vision-LSTM weights.
        data: The images, and how they are split; `img_size` may be any, positions are interpolated.
        network: drop_path and dropout; the rest is fixed by the model.
        augment: How training images are changed at random.
        fit: How to train.
        head_only: Leave the model as it is and train a new head alone, which is fast.
        ema: As in `train`.
        layer_decay: Factor on the learning rate from block to block towards the image, which is to change least.
        balanced: As in `train`.
        baselines: As in `train`.
        run_dir: Folder for the results. None: runs/vision-finetune-<folder>-<time>; with resume: the newest of those.
        seed: As in `train`.
        resume: As in `train`.
    """
    from xlstm_apps.recipes import _vision_train as steps

    steps.train(
        "vision-finetune", data, network, augment, fit, from_model=from_model, head_only=head_only, ema=ema,
        layer_decay=layer_decay, balanced=balanced, baselines=baselines, run_dir=run_dir, seed=seed, resume=resume,
    )  # fmt: skip


def evaluate(
    model: str,
    data: LabelledImages,
    output: str = "evaluation",
    top_mistakes: int = 24,
    own_size: bool = False,
    device: Device = "auto",
) -> None:
    """Say how good a model is on labelled images it has not seen, and where it errs.

    Writes a folder: scores, confusion, calibration and predictions as CSV, the surest mistakes as pictures, and
    report.html.

    Args:
        model: Run folder of `train` or `finetune`, or model folder.
        data: The images with their classes. Where they come in parts, the test part counts, or else val.
        output: Folder to make.
        top_mistakes: How many of the surest mistakes to show.
        own_size: As in `predict`.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _vision_use as steps

    steps.evaluate(model, data, output, top_mistakes, own_size, device)


def predict(
    model: str,
    data: ImageSource,
    output: str | None = None,
    top: int = 0,
    own_size: bool = False,
    device: Device = "auto",
) -> None:
    """Predict the classes of images: a folder in, a table out.

    Columns: path, status (ok, or why there is no prediction), predicted, and p_<class> of every class, or with `top`
    the most probable ones.

    Args:
        model: Run folder of `train` or `finetune`, or model folder.
        data: The images.
        output: File to write, .tsv, .csv or .parquet. None: TSV on the standard output.
        top: Give so many classes with their probabilities (top1, p1, top2, ...). 0: the probability of every class.
        own_size: Read every image at its own height and width, nothing cut, padded or shrunk, instead of bringing it
            to the size of training. What it shows should be about as large, in pixels, as in training.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _vision_use as steps

    steps.predict(model, data, output, top, own_size, device)


def embed(model: str, data: ImageSource, output: str, own_size: bool = False, device: Device = "auto") -> None:
    """Write what a model makes of each image, a vector that similar images share, for search, clustering or plots.

    Args:
        model: Run folder of `train` or `finetune`, or model folder.
        data: The images.
        output: File to write: .npz (features, path) or .parquet (path, features as one column of arrays).
        own_size: As in `predict`.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _vision_embed as steps

    steps.embed(model, data, output, own_size, device)


def explain(
    model: str,
    data: ImageSource,
    output: str = "explained",
    target: str | None = None,
    block: int | None = None,
    max_images: int = 24,
    own_size: bool = False,
    device: Device = "auto",
) -> None:
    """Show what a model looked at: its mLSTM's own weights, and Grad-CAM, as maps over the images.

    Writes a folder: a picture for each image, explain.csv and explain.html.

    Args:
        model: Run folder of `train` or `finetune`, or model folder.
        data: The images.
        output: Folder to make.
        target: Class whose map is drawn. None: the predicted one.
        block: Block behind which Grad-CAM looks, from 0, -1 the last. None: two blocks before the end.
        max_images: Most images.
        own_size: As in `predict`.
        device: Where to compute. auto: CUDA where there is any.
    """
    from xlstm_apps.recipes import _vision_explain as steps

    steps.explain(model, data, output, target, block, max_images, own_size, device)


def export(model: str, output: str = "model.onnx", img_size: int | None = None) -> None:
    """Write a model as ONNX, or as a graph of torch, that runs without this package; it is run and compared first.

    Args:
        model: Run folder of `train` or `finetune`, or model folder.
        output: File to write: .onnx, or .pt2 for `torch.export.load`. A .json file beside it tells classes and sizes.
        img_size: Width and height of the images. None: those of training.
    """
    from xlstm_apps.recipes import _vision_embed as steps

    steps.export(model, output, img_size)
