"""The forecasters that a `ForecastModel` averages.

Shapes: B windows, C channels, L context, H horizon, S = Q - 1 spreads (quantile levels beside the median), E embedding.

A member maps the filled, normalised past `x` [B, C, L], observed where `seen` [B, C, L] bool, to the median [B, C, H]
and the raw spreads [B, C, H, S]; a window's forecast depends on no other window. `normalised` says whether it sees
windows normalised by their own mean and deviation, where `head.instance_norm` is on; one that has `by_channel` takes
the numbers of the channels too, [C], or None for all of them.
"""

from torch import nn

from xlstm_apps.core import xLSTMConfig
from xlstm_apps.forecasting.config import ForecastConfig
from xlstm_apps.forecasting.members.linear import DLinear, Naive, NLinear, Seasonal
from xlstm_apps.forecasting.members.patch import PatchScan
from xlstm_apps.forecasting.members.ridge import Ridge
from xlstm_apps.forecasting.members.transformer import PatchTST, iTransformer
from xlstm_apps.forecasting.members.variate import Mixer, VariateScan

MEMBERS: dict[str, type[nn.Module]] = {
    "naive": Naive,
    "seasonal": Seasonal,
    "ridge": Ridge,
    "nlinear": NLinear,
    "dlinear": DLinear,
    "variate": VariateScan,
    "mixer": Mixer,
    "patch": PatchScan,
    "patchtst": PatchTST,
    "itransformer": iTransformer,
}


def build_member(name: str, head: ForecastConfig, backbone: xLSTMConfig) -> nn.Module:
    """A new member by its name."""
    return MEMBERS[name](head, backbone)
