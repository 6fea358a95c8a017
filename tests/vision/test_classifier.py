"""A classifier with its classes, its training module, and the networks it is compared with."""

import copy

import pytest
import torch
from small_models import small_model

from xlstm_apps.training import BatchLoader, FitConfig, fit
from xlstm_apps.training.config import Device
from xlstm_apps.vision import create_model
from xlstm_apps.vision.baselines import ResNet, ViT, matched
from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.module import ClassifierModule
from xlstm_apps.vision.training_config import AugmentConfig, ImagesConfig, NetworkConfig
from xlstm_apps.vision.weights import read_model

LOOKS = ImagesConfig(classes=("a", "b", "c", "d", "e"), img_size=16, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


def classifier(**options):
    return ImageClassifier.around(small_model(**options), LOOKS).eval()


def test_it_normalises_and_is_saved_as_a_whole(tmp_path):
    made, x = classifier(), torch.rand(2, 3, 16, 16)
    mean, std = (torch.tensor(v)[:, None, None] for v in (LOOKS.mean, LOOKS.std))
    assert torch.allclose(made(x), made.model((x - mean) / std)) and made.features(x).shape == (2, 32)
    made.save_pretrained(tmp_path / "m")
    again = ImageClassifier.from_pretrained(tmp_path / "m")
    assert again.images == LOOKS and torch.equal(again(x), made(x))
    inner = read_model(tmp_path / "m")
    assert torch.equal(inner(x), made.model(x))
    other = create_model("vil_tiny", pretrained_path=tmp_path / "m", num_classes=2, img_size=32, embedding_dim=16,
                         num_blocks=4, num_heads=2)  # fmt: skip
    assert other(torch.rand(1, 3, 32, 32)).shape == (1, 2)
    with pytest.raises(ValueError, match="5 outputs for 2 classes"):
        ImageClassifier(made.model.vision, made.model.config, ImagesConfig(classes=("a", "b"), img_size=16))
    with pytest.raises(ValueError, match="of 3 channels"):
        ImageClassifier(made.model.vision, made.model.config, ImagesConfig(classes=tuple("abcde"), img_size=16))


def batch(count=6):
    return {"pixels": torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8), "label": torch.arange(count) % 5}


def test_the_loss_is_cross_entropy_of_smoothed_targets():
    module = ClassifierModule(classifier(), 5, AugmentConfig(flip=False, label_smoothing=0.0)).eval()
    data = batch()
    expected = torch.nn.functional.cross_entropy(module.network(data["pixels"] / 255), data["label"])
    assert torch.allclose(module.training_step(data, 0), expected)
    weighted = ClassifierModule(
        module.network, 5, module.augment, class_weight=torch.tensor([2.0, 1, 1, 1, 1])
    ).training_step({k: v[:1] for k, v in data.items()}, 0)
    alone = torch.nn.functional.cross_entropy(module.network(data["pixels"][:1] / 255), data["label"][:1])
    assert torch.allclose(weighted, 2 * alone)


def test_validation_judges_by_the_loss_of_training(monkeypatch):
    module = ClassifierModule(classifier(), 5, AugmentConfig(flip=False, label_smoothing=0.3)).eval()
    logged: dict = {}
    monkeypatch.setattr(module, "log_dict", logged.update)
    data = batch()
    for part in (slice(0, 4), slice(4, 6)):
        module.validation_step({name: values[part] for name, values in data.items()}, 0)
    module.on_validation_epoch_end()
    assert logged["val_loss"] == pytest.approx(module.training_step(data, 0).item(), rel=1e-5)


def test_the_average_of_the_weights_is_followed_and_used():
    module = ClassifierModule(classifier(), 5, AugmentConfig(), ema=0.9)
    assert module.result is module.average and not any(p.requires_grad for p in module.average.parameters())
    before = module.average.model.head.bias.clone()
    with torch.no_grad():
        module.network.model.head.bias.add_(1.0)
    module.on_train_batch_end(None, {}, 0)
    move = 1 - 2 / 11
    assert torch.allclose(module.average.model.head.bias, before + move)
    assert "average.model.head.bias" in module.state_dict() and int(module.state_dict()["updates"]) == 1
    assert ClassifierModule(classifier(), 5, AugmentConfig()).result is not None


def test_every_weight_has_a_learning_rate_of_its_layer():
    module = ClassifierModule(classifier(), 5, AugmentConfig(), ema=0.9, layer_decay=0.5)
    groups = module.optimizer_groups(1e-3, 0.05)
    assert sum(len(g["params"]) for g in groups) == len([*module.network.parameters()])
    assert min(g["lr"] for g in groups) == pytest.approx(1e-3 * 0.5**5)
    assert ClassifierModule(torch.nn.Linear(2, 2), 2, AugmentConfig()).optimizer_groups(1e-3, 0.1) is None


@pytest.mark.parametrize("kind", ["resnet", "vit"])
@pytest.mark.parametrize("size", [20, 80])
def test_networks_of_equal_size(kind, size):
    made = matched(kind, 200_000, in_chans=3, num_classes=4, img_size=size, patch_size=6, depth=2)
    assert isinstance(made, ResNet if kind == "resnet" else ViT)
    assert 0.8 < sum(p.numel() for p in made.parameters()) / 200_000 < 1.25
    assert made(torch.rand(2, 3, size, size)).shape == (2, 4)


def test_network_by_size_of_the_images():
    assert NetworkConfig().named(8) == "vil_pico" and NetworkConfig().named(224) == "vil_nano"
    assert [NetworkConfig().patch(size) for size in (3, 8, 28, 64, 224)] == [1, 2, 2, 5, 16]
    assert NetworkConfig(name="vil_tiny", patch_size=4).patch(224) == 4
    assert NetworkConfig(drop_path=0.1, num_blocks=3).options() == {"drop_path_rate": 0.1, "num_blocks": 3}


class Pictures(torch.utils.data.Dataset):
    """30 images, by whole batches."""

    def __init__(self):
        self.data = batch(30)

    def __len__(self):
        return len(self.data["label"])

    def __getitems__(self, indices):
        return {name: values[indices] for name, values in self.data.items()}


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["plain", "checkpoints", "gathered"])
@pytest.mark.usefixtures("gpu")
def test_training_on_a_gpu_replays_its_steps_and_equals_that_on_a_cpu(kind):
    pictures, start = Pictures(), classifier()

    def trained(device: Device) -> ClassifierModule:
        module = ClassifierModule(copy.deepcopy(start), 5, AugmentConfig(flip=False), ema=0.9)
        module.network.model.set_grad_checkpointing(kind == "checkpoints")
        trainer = {"accumulate_grad_batches": 3} if kind == "gathered" else {}
        config = FitConfig(max_epochs=3, accelerator=device, learning_rate=1e-3, warmup=0.0, trainer=trainer)
        fit(module, BatchLoader(pictures, 10, shuffle=True), None, config)
        return module

    on_gpu, on_cpu = trained("cuda"), trained("cpu")
    assert on_gpu._graphed.captured == (kind == "plain")
    # By what they say: where a gradient is nearly 0, rounding decides which way the optimiser moves a weight.
    x = pictures.data["pixels"] / 255
    torch.testing.assert_close(on_gpu.result.cpu()(x), on_cpu.result(x), rtol=2e-2, atol=2e-2)
    assert not torch.allclose(on_cpu.result(x), start(x), rtol=2e-2, atol=2e-2)
