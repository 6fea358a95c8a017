"""The operations of xLSTM as plain functions: `mlstm`, `rnn`, their single steps, `causal_conv1d`, `depthwise_conv2d`,
`gated_norm`, `feature_norm`, and what runs here.

`mlstm` and `rnn` here are the functions; their implementations live in the subpackages of the same names
(`from xlstm_apps.kernels.mlstm import reference` reaches those).
"""

# Eager on purpose: a lazy `mlstm` would turn into the subpackage of that name as soon as anything imports from it.
from xlstm_apps.kernels.conv.api import causal_conv1d
from xlstm_apps.kernels.conv.grid.api import depthwise_conv2d
from xlstm_apps.kernels.dispatch import BackendStatus, backends
from xlstm_apps.kernels.mlstm.api import mlstm, mlstm_step
from xlstm_apps.kernels.norm.api import gated_norm
from xlstm_apps.kernels.norm.features.api import feature_norm
from xlstm_apps.kernels.rnn.api import rnn, rnn_step
from xlstm_apps.kernels.state import MLSTMState, RNNState

__all__ = [
    "BackendStatus",
    "MLSTMState",
    "RNNState",
    "backends",
    "causal_conv1d",
    "depthwise_conv2d",
    "feature_norm",
    "gated_norm",
    "mlstm",
    "mlstm_step",
    "rnn",
    "rnn_step",
]
