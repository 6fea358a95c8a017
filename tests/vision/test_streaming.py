"""Strip by strip, with the state carried on, an image gives what it gives at once."""

import numpy as np
import pytest
import torch
from small_models import small_model

from xlstm_apps.vision import SCANS, stream_features, stream_logits

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
WITH_ROWS = [scan for scan in SCANS if scan not in ("snake", "hilbert")]


@pytest.mark.parametrize("rows", [1, 3, None])
@pytest.mark.parametrize("scan", WITH_ROWS)
@pytest.mark.parametrize("name", ["vil_tiny", "vil_mlp_tiny"])
def test_strips_equal_one_pass(name, scan, rows):
    model = small_model(name, scan=scan, conv_kernel_size=5)
    image = torch.randn(3, 38, 22)
    torch.testing.assert_close(stream_features(model, image, strip_rows=rows), model.forward_features(image[None])[0])
    torch.testing.assert_close(stream_logits(model, image, strip_rows=rows), model(image[None])[0], **CLOSE)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("conv", ["causal", "none"])
def test_any_path_where_no_convolution_sees_the_grid(scan, conv):
    model = small_model(scan=scan, conv=conv)
    image = torch.randn(3, 20, 14)
    torch.testing.assert_close(stream_logits(model, image, strip_rows=2), model(image[None])[0], **CLOSE)


@pytest.mark.parametrize("size", [(50,), (13, 6, 9)])
def test_signals_and_volumes(size):
    model = small_model(img_size=(8,) * len(size), stride=(3,) * len(size))
    image = torch.randn(3, *size)
    torch.testing.assert_close(stream_logits(model, image, strip_rows=2), model(image[None])[0], **CLOSE)


def test_rows_of_a_mapped_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 20, 3), dtype=np.uint8)
    np.save(tmp_path / "scan.npy", pixels)
    read = []

    def prepare(rows):
        read.append(len(rows))
        return torch.from_numpy(np.array(rows)).movedim(-1, 0) / 255 - 0.5

    model = small_model()
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    y = stream_logits(model, mapped, strip_rows=2, prepare=prepare)
    torch.testing.assert_close(y, model(prepare(pixels)[None])[0], **CLOSE)
    assert max(read[:-1]) == 8  # two rows of patches at a time, never the picture


def test_what_cannot_be_streamed():
    image = torch.zeros(3, 16, 16)
    with pytest.raises(ValueError, match="'hilbert' has no rows"):
        stream_features(small_model(scan="hilbert"), image)
    with pytest.raises(ValueError, match=r"model\.eval"):
        stream_features(small_model().train(), image)
    with pytest.raises(ValueError, match="strip_rows=0"):
        stream_features(small_model(), image, strip_rows=0)
    with pytest.raises(ValueError, match=r"\[channels, \*size\]"):
        stream_features(small_model(), image[None])
    with pytest.raises(ValueError, match=r"images whose first dimension is the rows"):
        stream_features(small_model(), image, prepare=lambda rows: rows)
    with pytest.raises(ValueError, match=r"torch\.uint8"):
        stream_features(small_model(), image.byte())
