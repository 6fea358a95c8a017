"""LayerNorm and RMSNorm of all features in plain torch, what is refused, the layers, and their place in graphs."""

import feature_norm_cases as cases
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from xlstm_apps.core import layers, xLSTMBackbone, xLSTMConfig
from xlstm_apps.core.layers import LayerNorm, RMSNorm, make_norm
from xlstm_apps.kernels import feature_norm
from xlstm_apps.kernels.norm.features import reference
from xlstm_apps.kernels.norm.features import torch as plain
from xlstm_apps.vision import VisionConfig, VisionLSTM

MIXED = [
    {"dtype": torch.float32, "weight_dtype": torch.float32, "result": torch.bfloat16},
    {"dtype": torch.bfloat16, "weight_dtype": torch.float32, "result": torch.float32},
    {"dtype": torch.float16, "weight_dtype": torch.float32, "result": torch.bfloat16},
]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (40, 96), (5, 1000)], ids=str)
def test_plain_torch_against_the_reference(shape, bias, centred):
    # Where the variance is nothing but rounding, it is magnified by 1 / sqrt(eps).
    cases.check(plain, 1e-4 if shape[1] == 1 else 1e-5, *shape, bias=bias, centred=centred)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("case", MIXED, ids=str)
def test_types_may_differ(case, centred):
    cases.check(plain, 6e-3, 40, 96, centred=centred, **case)
    with torch.autocast("cpu", torch.bfloat16):
        cases.check(plain, 6e-3, 40, 96, centred=centred, **case)


@pytest.mark.parametrize("centred", [True, False])
def test_gradients_are_those_of_finite_differences(centred):
    leaves = [x.double().requires_grad_() for x in cases.make(4, 5)]
    options = {"eps": 1e-3, "centred": centred, "dtype": torch.float64}
    for module in (reference, plain):
        assert torch.autograd.gradcheck(lambda *x, m=module: m.feature_norm(*x, **options), leaves)


@pytest.mark.parametrize("backend", ["reference", "torch"])
def test_any_leading_shape_equals_torch(backend):
    x, weight, bias = cases.make(24, 6)
    options = {"eps": 1e-3, "backend": backend}
    for shape in ((2, 3, 4, 6), (24, 6), (6,)):
        rows = x[: x[..., 0].numel() if len(shape) > 1 else 1].reshape(shape)
        found = feature_norm(rows, weight, bias, centred=True, **options)
        torch.testing.assert_close(found, F.layer_norm(rows, (6,), weight, bias, 1e-3))
        found = feature_norm(rows, weight, bias, centred=False, **options)
        torch.testing.assert_close(found, F.rms_norm(rows, (6,), weight, 1e-3) + bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(())}, r"x must have shape \[..., E\] without a size of 0, not \[\]"),
        ({"x": torch.zeros(2, 0, 6)}, r"without a size of 0, not \[2, 0, 6\]"),
        ({"x": torch.zeros(2, 6, dtype=torch.int32)}, "x must be of a floating-point type, not torch.int32"),
        ({"weight": torch.zeros(3)}, r"weight must have shape \[6\], not \[3\]"),
        ({"bias": torch.zeros(1)}, r"bias must have shape \[6\], not \[1\]"),
        ({"bias": torch.zeros(6, dtype=torch.long)}, "bias must be of a floating-point type"),
        ({"bias": torch.zeros(6, device="meta")}, "bias is on meta but x is on cpu"),
        ({"dtype": torch.int8}, "dtype must be of a floating-point type, not torch.int8"),
        ({"backend": "native"}, "unknown backend"),
    ],
)
def test_what_is_refused(change, message):
    tensors = {"x": torch.zeros(2, 6), "weight": torch.zeros(6)}
    with pytest.raises(ValueError, match=message):
        feature_norm(**{**tensors, "eps": 1e-5, "centred": True, **change})


@pytest.mark.parametrize("centred", [True, False])
def test_compiles_into_one_graph(centred):
    torch.compiler.reset()
    leaves = [x.requires_grad_() for x in cases.make(5, 6)]

    def function(*x):
        return feature_norm(*x, eps=1e-5, centred=centred, dtype=torch.bfloat16).float().square().sum()

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(function(*leaves), leaves)
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)


@pytest.mark.parametrize(("family", "kind"), [("xlstm", LayerNorm), ("xlstm-large", RMSNorm)])
@pytest.mark.parametrize("final", [False, True])
def test_layers_on_the_cpu_are_those_of_torch(family, kind, final):
    torch.manual_seed(0)
    layer = make_norm(xLSTMConfig(family=family, embedding_dim=64, norm_bias=True), final=final)
    assert type(layer) is kind and [*layer.state_dict()] == ["weight", "bias"]
    assert isinstance(layer, nn.LayerNorm) == (family == "xlstm")
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = torch.randn(3, 5, 64)
    if family == "xlstm":
        expected = F.layer_norm(x, (64,), layer.weight, layer.bias, layer.eps)
    else:
        expected = F.rms_norm(x, (64,), layer.weight, layer.eps) + layer.bias
    assert torch.equal(layer(x), expected)


@pytest.fixture
def autocast_for_a_gpu():
    """As `torch.autocast` switches it, which refuses to where there is no GPU."""
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", before)


@torch.no_grad()
@pytest.mark.parametrize("family", ["xlstm", "xlstm-large"])
def test_types_that_layers_of_a_gpu_give(autocast_for_a_gpu, family, monkeypatch):
    monkeypatch.setattr(layers, "LEAST_FUSED", 0)
    config = xLSTMConfig(family=family, embedding_dim=64)
    with FakeTensorMode(), torch.device("cuda"):
        norm, last, x = make_norm(config), make_norm(config, final=True), torch.empty(3, 5, 64)
        assert norm(x).dtype == norm(x.half()).dtype == torch.bfloat16
        assert last(x).dtype == last(x.bfloat16()).dtype == torch.float32
        assert norm(x.double()).dtype == last(x.double()).dtype == torch.float64
        torch.set_autocast_enabled("cuda", False)
        assert norm(x).dtype == torch.float32
        assert norm(x.bfloat16()).dtype == last(x.bfloat16()).dtype == torch.bfloat16


@torch.no_grad()
def test_small_norms_of_a_gpu_are_torchs(monkeypatch):
    monkeypatch.setattr(layers, "feature_norm", lambda *_, **__: "the kernel")
    with FakeTensorMode(), torch.device("cuda"):
        norm = make_norm(xLSTMConfig(embedding_dim=64))
        small, large = torch.empty(3, 5, 64), torch.empty(1, layers.LEAST_FUSED // 64, 64)
        assert norm(small).shape == small.shape and norm(large) == "the kernel"


@pytest.mark.parametrize("family", ["xlstm", "xlstm-large"])
def test_what_pooling_and_heads_read_is_final_and_nothing_else(family):
    config = xLSTMConfig(family=family, embedding_dim=64, num_blocks=2, num_heads=2)
    vision = VisionLSTM(VisionConfig(img_size=(16, 16), patch_size=(8, 8)), config)
    for model in (xLSTMBackbone(config), vision):
        norms = {name: m.final for name, m in model.named_modules() if isinstance(m, LayerNorm | RMSNorm)}
        assert len(norms) >= 3 and {name for name, final in norms.items() if final} == {"final_norm"}


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["xlstm", "xlstm-large"])
def test_layers_on_a_gpu_give_the_type_of_autocast(gpu, family, monkeypatch):
    monkeypatch.setattr(layers, "LEAST_FUSED", 0)
    config = xLSTMConfig(family=family, embedding_dim=64)
    norm, last = make_norm(config).cuda(), make_norm(config, final=True).cuda()
    x = torch.randn(3, 5, 64, device=gpu)
    expected = norm.cpu()(x.cpu())
    norm.cuda()
    assert norm(x).dtype == last(x).dtype == torch.float32
    assert norm(x.half()).dtype == last(x.half()).dtype == torch.float16
    assert norm(x.double()).dtype == last(x.double()).dtype == torch.float64
    torch.testing.assert_close(norm(x).cpu(), expected)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cuda", dtype):
            assert norm(x).dtype == dtype and last(x).dtype == last(x.to(dtype)).dtype == torch.float32
            assert norm(x.double()).dtype == last(x.double()).dtype == torch.float64
            torch.testing.assert_close(last(x).cpu(), expected)
            torch.testing.assert_close(norm(x).float().cpu(), expected, atol=0.02, rtol=0.01)
