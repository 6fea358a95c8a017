"""The weights of the mLSTM are those it computes with; maps show where a class is."""

import pytest
import torch
from small_models import small_model

from xlstm_apps.vision.classifier import ImageClassifier
from xlstm_apps.vision.config import SCANS
from xlstm_apps.vision.explaining import grad_cam, mixing, relevance
from xlstm_apps.vision.parallel import in_parallel
from xlstm_apps.vision.training_config import ImagesConfig

LOOKS = ImagesConfig(classes=tuple("abcde"), img_size=16, mean=(0.4,) * 3, std=(0.3,) * 3)


@pytest.mark.parametrize("options", [{"scan": scan} for scan in SCANS] + [{"conv": "causal"}, {"conv": "none"}])
def test_the_parallel_form_is_the_same_model(options):
    model, x = small_model(**options), torch.randn(2, 3, 12, 20)
    expected = model(x)
    with in_parallel(model):
        torch.testing.assert_close(model(x), expected, atol=2e-5, rtol=1e-4)
    assert not any("cell" in vars(block.mixer) for block in model.blocks)


def test_the_parallel_form_of_the_other_family():
    model, x = small_model("vil_mlp_tiny", num_blocks=2), torch.randn(2, 3, 16, 16)
    expected = model(x)
    with in_parallel(model):
        torch.testing.assert_close(model(x), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("scan", ["alternate", "column", "snake", "raster"])
def test_a_patch_takes_of_those_read_before_it_only(scan):
    model = small_model(scan=scan)
    maps = mixing(model, torch.randn(2, 3, 12, 20))
    assert len(maps) == 4 and maps[0].shape == (2, 15, 15)
    for index, a in enumerate(maps):
        from xlstm_apps.vision.paths import ScanPath

        order = ScanPath(model.scan_of(index)[0], (3, 5)).order()
        along = a[:, order][:, :, order]
        assert (along.triu(1) == 0).all() and (along.diagonal(dim1=1, dim2=2) > 0).all()


def test_relevance_sums_up_to_one_and_reads_everything():
    made = ImageClassifier.around(small_model(), LOOKS).eval()
    found = relevance(made, torch.rand(2, 3, 16, 24))
    assert found.shape == (2, 4, 6) and torch.allclose(found.sum((1, 2)), torch.ones(2)) and (found > 0).all()


def test_grad_cam_follows_its_definition():
    made, x = ImageClassifier.around(small_model(), LOOKS).eval(), torch.rand(2, 3, 16, 16)
    classes = torch.tensor([1, 4])
    found = grad_cam(made, x, classes, block=1)
    assert found.shape == (2, 4, 4) and (found >= 0).all() and found.max() > 0
    tokens = made.model.forward_intermediates(made.normalize(x), [1], output_fmt="NLC")[1][0].detach().requires_grad_()
    out, scan = tokens, None
    from xlstm_apps.vision.scanning import Layout, Scan

    for index in (2, 3):
        scan = Scan(made.model.scan_of(index), Layout(((2, (4, 4)),), False), x.device)
        out = made.model.blocks[index](out, scan)
    score = made.model.forward_head(made.model.final_norm(out)).gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, tokens)
    expected = (tokens * gradient.mean(1, keepdim=True)).sum(-1).relu().unflatten(-1, (4, 4))
    torch.testing.assert_close(found, expected.detach())
    torch.testing.assert_close(grad_cam(made, x, classes), grad_cam(made, x, classes, block=1))
    assert all(not block._forward_hooks for block in made.model.blocks)
    with pytest.raises(ValueError, match="no block 7"):
        grad_cam(made, x, classes, block=7)


def test_too_many_patches_are_refused():
    with pytest.raises(ValueError, match="6,400 patches are too many"):
        mixing(small_model(patch_size=2), torch.zeros(1, 3, 160, 160))
