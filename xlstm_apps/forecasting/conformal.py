"""Conformal intervals: how far the truth fell from the median on rows held out, measured in the model's own spread.

The normalised error of a target is r = (y - median) / (outermost quantile - median) on the side where y fell, the
denominator drawn half way to its typical value. Any level tau then has the quantile median + rho(tau) * denominator,
with rho the tau-quantile of r over held-out targets (split conformal prediction: Vovk et al. 2005; Romano et al.,
NeurIPS 2019, for errors in units of a model's quantiles). The point forecast stays what it is, quantiles cannot cross.

Shapes: B windows, H horizon, C channels, Q levels of the model, U units (series and channel, or all as one), G groups
of neighbouring steps, K bins of r. Everything is in the scaler's units, where a deviation of 1 is the training's.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xlstm_apps.core.whole_file import whole_file

SPREAD_FLOOR = 1e-3
"""A spread is at least this share of the training deviation."""
SMALLEST, LARGEST, PER_DECADE = 1e-2, 1e3, 24
"""Bins of |r|: geometric, 10 % wide, beyond them none is told from another."""
FARTHEST_MOVE = 3.0
"""Quantile of the normal distribution beyond which no level is moved along the distribution of r."""
LUMP = 0.05
"""Share in one bin above which its errors are taken to be equal."""
FILE = "calibration"


def edges(device: torch.device | str = "cpu") -> Tensor:
    """Borders of the K bins of r, [K + 1]: symmetric about 0."""
    decades = int(torch.log10(torch.tensor(LARGEST / SMALLEST)).round())
    positive = SMALLEST * 10 ** (torch.arange(decades * PER_DECADE + 1, dtype=torch.float64) / PER_DECADE)
    return torch.cat([-positive.flip(0), torch.zeros(1, dtype=torch.float64), positive]).float().to(device)


def step_groups(horizon: int) -> Tensor:
    """Group of every step, int64 [H]: groups of 1, 1, 2, 4, ... steps, since errors change fast at first."""
    return torch.arange(1, horizon + 1).log2().ceil().long()


def spreads(forecast: Tensor, levels: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Median, and the distance to the outermost quantile below and above it: [B, H, C] each.

    Where the model has no quantile on a side its other side serves, and the training deviation where it has neither.
    """
    median = forecast[..., levels.index(0.5)]
    below = (median - forecast[..., 0]) if levels[0] < 0.5 else None
    above = (forecast[..., -1] - median) if levels[-1] > 0.5 else None
    if below is None and above is None:
        below = above = torch.ones_like(median)
    below, above = (above if below is None else below), (below if above is None else above)
    return median, below.clamp(min=SPREAD_FLOOR), above.clamp(min=SPREAD_FLOOR)


def yardsticks(forecast: Tensor, levels: list[float], typical: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Median, and the units of r below and above it: the geometric mean of the spread and the typical one.

    How wide a model says it is varies from window to window more than its errors do; half way is nearer the truth.

    Args:
        forecast: [B, H, C, Q].
        levels: Of the model.
        typical: Typical spread below and above, broadcasting to [B, H, C, 2]; NaN or None: the spread as it is.
    """
    median, *sides = spreads(forecast, levels)
    if typical is not None:
        halved = ((side * typical[..., i]).sqrt() for i, side in enumerate(sides))
        sides = [torch.where(half.isnan(), side, half) for half, side in zip(halved, sides, strict=True)]
    return median, *sides


def normalised_errors(forecast: Tensor, target: Tensor, levels: list[float], typical: Tensor | None = None) -> Tensor:
    """r of every target, [B, H, C]; what stands under a False mask is of no meaning."""
    median, below, above = yardsticks(forecast, levels, typical)
    error = target - median
    return error / torch.where(error >= 0, above, below)


def stretch(forecast: Tensor, rho: Tensor, levels: list[float], typical: Tensor | None = None) -> Tensor:
    """median + rho * yardstick: rho broadcasts to [B, H, C, L]."""
    median, below, above = (x[..., None] for x in yardsticks(forecast, levels, typical))
    return median + rho * torch.where(rho >= 0, above, below)


class State(NamedTuple):
    """The distribution of r as known at one time, for any number of units and groups [...]."""

    shares: Tensor
    """Cumulative share of r at the right border of each bin, [..., K]."""
    known: Tensor
    """Independent errors these rest on, [...]: the fewer, the wider the intervals."""
    read: Tensor
    """Where the quantiles of 90 and 97.5 % are to be read, as quantiles of the normal distribution, [..., 2]: at their
    own, `NORMAL`, unless the intervals covered too little or too much of late."""

    def quantile(self, wanted: Tensor) -> Tensor:
        """r at the shares wanted, [..., n].

        Within a bin linear, save where a bin holds
        so much that its errors are likely equal (sales of 0): there the bin's outer border, so that they all count as
        inside. Widened by the ratio of the quantiles of Student's t with as many degrees of freedom as errors are known
        to those of the normal distribution (Fisher & Cornish 1960).
        """
        z = torch.special.ndtri(wanted.clamp(1e-6, 1 - 1e-6))
        inner, outer = self.read[..., :1], self.read[..., 1:]
        size, slope = z.abs(), (outer - inner) / (NORMAL[1] - NORMAL[0])
        moved = torch.where(size < NORMAL[0], size * inner / NORMAL[0], inner + (size - NORMAL[0]) * slope)
        # Far out the shares are those of the prior's heavy tails: a level moved to there goes on as the normal's would.
        placed = torch.minimum(moved, size.clamp(min=FARTHEST_MOVE))
        share = torch.special.ndtr(z.sign() * placed)
        border = edges(self.shares.device)
        place = torch.searchsorted(self.shares.contiguous(), share.contiguous()).clamp(max=self.shares.shape[-1] - 1)
        right = self.shares.gather(-1, place)
        left = torch.where(place > 0, self.shares.gather(-1, (place - 1).clamp(min=0)), 0)
        inside = ((share - left) / (right - left).clamp(min=1e-9)).clamp(0, 1)
        inside = torch.where(right - left > LUMP, (wanted > 0.5).to(inside), inside)
        value = border[place] + inside * (border[place + 1] - border[place])
        value = torch.where(wanted < 0.5, value.clamp(max=0), value.clamp(min=0))
        z2, n = z.square(), self.known[..., None].clamp(min=1)
        wider = 1 + (z2 + 1) / (4 * n) + (5 * z2.square() + 16 * z2 + 3) / (96 * n.square())
        return torch.where(wanted == 0.5, 0, value * wider * moved / placed)

    def share(self, errors: Tensor) -> Tensor:
        """Share of errors below each of `errors`, [..., n]."""
        border = edges(self.shares.device)
        place = torch.bucketize(errors.contiguous(), border[1:-1], right=True)
        right = self.shares.gather(-1, place)
        left = torch.where(place > 0, self.shares.gather(-1, (place - 1).clamp(min=0)), 0)
        inside = ((errors - border[place]) / (border[place + 1] - border[place])).clamp(0, 1)
        return left + inside * (right - left)


def beyond_errors(levels: Iterable[float], errors: int) -> str | None:
    """Says which quantiles lie where no error was seen; None where all are supported.

    Intervals of 95 % and less are never among them: few errors widen them, and their coverage is watched.

    Args:
        levels: Quantiles, between 0 and 1.
        errors: Held-out errors of one step; n of them divide what may come into n + 1 parts, each as likely.
    """
    widest = max(95.0, 100 - 200 / (errors + 1))
    wider = sorted({round(200 * abs(q - 0.5), 6) for q in levels if 200 * abs(q - 0.5) > widest + 1e-6})
    if not wider:
        return None
    return (
        f"the {errors:,} held-out errors of each step support intervals up to {int(10 * widest) / 10:g} %; "
        f"{', '.join(f'{x:g} %' for x in wider)} rests on assumed heavy tails and may be far too wide"
    )


NORMAL = (1.2815516, 1.959964)
"""Quantiles of the normal distribution at 90 and 97.5 %: the borders of the intervals of 80 and 95 %."""


@dataclass(frozen=True)
class Calibration:
    """Where the truth fell around the median, as known at one point of time; made by `estimators.Calibrator`."""

    levels: list[float]
    """Levels of the model whose spread is the yardstick."""
    state: State
    """The distribution of r, [U + 1, G]; the last unit is all of them."""
    typical: Tensor
    """Geometric mean of the model's spreads below and above its median, [U + 1, 2]; NaN where there is none."""
    channels: int
    """C."""
    item_ids: list[str] | None
    """Series the units belong to; None where the table was one series, or where all are one unit."""
    paths: Tensor
    """Whole windows of held-out errors as shares in (0, 1), float32 [N, H, C]; 0.5 where the truth was missing."""
    report: dict[str, Any] = field(default_factory=dict)
    """Windows and targets it rests on; JSON-able."""

    def to(self, device: torch.device | str) -> "Calibration":
        """The same on another device."""
        state = State(*(x.to(device) for x in self.state))
        return replace(self, state=state, typical=self.typical.to(device), paths=self.paths.to(device))

    def rows_for(self, item_ids: list[str] | None) -> list[int]:
        """Numbers of the series of another table here, -1 for those not known: what `quantiles` takes as `series`."""
        known = {name: i for i, name in enumerate(self.item_ids or [])}
        return [known.get(name, -1) for name in item_ids or [""]]

    def beyond(self, levels: Iterable[float]) -> str | None:
        """Says which of these quantiles the held-out errors do not support; None where they support all."""
        return beyond_errors(levels, self.report["targets"] // self.paths.shape[1])

    def quantiles(self, forecast: Tensor, levels: list[float], series: Tensor | None = None) -> Tensor:
        """Calibrated quantiles of any levels, [B, H, C, len(levels)].

        Args:
            forecast: What the model gave, in the scaler's units, [B, H, C, Q].
            levels: Between 0 and 1.
            series: Numbers of the windows' series in the table it was made of, -1 for others, int64 [B]; None: the
                windows are of other series, or there is one only.

        Raises:
            ValueError: A level does not lie between 0 and 1, or the forecast has other channels.
        """
        unit, step = self._place(forecast, series)
        return stretch(forecast, rho_at(self.state, levels)[unit, step], self.levels, self.typical[unit])

    def sample_paths(self, forecast: Tensor, n: int, seed: int = 0, series: Tensor | None = None) -> Tensor:
        """Possible futures, [B, n, H, C].

        Each takes the shares of one held-out window drawn at random, so that its steps and channels hang together as
        theirs did (Schaake shuffle: Clark et al., J. Hydrometeorology 2004), at this forecast's quantiles.
        """
        generator = torch.Generator().manual_seed(seed)
        out = forecast.new_empty(len(forecast), n, *forecast.shape[1:3])
        unit, step = self._place(forecast, series)
        for i in range(len(forecast)):  # one window at a time: n paths with all their bins would be large
            drawn = torch.randint(len(self.paths), (n,), generator=generator).to(self.paths.device)
            here = State(*(x[unit[i], step[0]] for x in self.state))  # [H, C]
            rho = here.quantile(self.paths[drawn].permute(1, 2, 0).to(forecast)).permute(2, 0, 1)
            out[i] = stretch(forecast[i : i + 1], rho[..., None], self.levels, self.typical[unit[i]])[..., 0]
        return out

    def save(self, folder: str | Path) -> None:
        """Write `calibration.safetensors` and `calibration.json`."""
        folder = Path(folder)
        tensors = {**self.state._asdict(), "paths": self.paths, "typical": self.typical}
        tensors = {name: x.cpu().contiguous() for name, x in tensors.items()}
        facts = {"levels": self.levels, "channels": self.channels, "item_ids": self.item_ids, "report": self.report}
        with whole_file(folder / f"{FILE}.safetensors") as aside:
            save_file(tensors, aside)
        with whole_file(folder / f"{FILE}.json") as aside:
            aside.write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> "Calibration | None":
        """Read what `save` wrote; None where the folder holds none: the model then answers with its own quantiles."""
        folder = Path(folder)
        if not (folder / f"{FILE}.json").is_file():
            return None
        facts = json.loads((folder / f"{FILE}.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / f"{FILE}.safetensors")
        apart = {name: tensors.pop(name) for name in ("paths", "typical")}
        return cls(state=State(**tensors), **apart, **facts)

    def _place(self, forecast: Tensor, series: Tensor | None) -> tuple[Tensor, Tensor]:
        """Unit [B, 1, C] and group [1, H, 1] of every target."""
        batch, horizon, channels, _ = forecast.shape
        if channels != self.channels:
            raise ValueError(f"calibrated on {self.channels} value columns, but the forecast has {channels}")
        unit = unit_rows(batch, series, len(self.state.known) - 1, channels, forecast.device)
        return unit[:, None, :], step_groups(horizon).to(forecast.device)[None, :, None]


def unit_rows(batch: int, series: Tensor | None, units: int, channels: int, device: torch.device | str) -> Tensor:
    """Unit of every window and channel, int64 [B, C]; `units` (the row after the last) is all of them together."""
    channel = torch.arange(channels, device=device).expand(batch, -1)
    if units == channels:
        return channel
    if units == 0 or series is None:
        return torch.full_like(channel, units)
    series = series.to(device)[:, None]
    return torch.where(series >= 0, series * channels + channel, units)


def rho_at(state: State, levels: list[float]) -> Tensor:
    """Quantiles of r, [..., L]: at most 0 below the median's level, 0 at it, at least 0 above it.

    Raises:
        ValueError: A level does not lie between 0 and 1.
    """
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"a quantile level must lie between 0 and 1, not {level}")
    wanted = torch.tensor(levels, dtype=state.shares.dtype, device=state.shares.device)
    return state.quantile(wanted.expand(*state.known.shape, -1))


@cache
def prior(low: float, high: float) -> Tensor:
    """Shares of r if the model's own quantiles were right, [K]: Student's t with 2 degrees of freedom through them.

    Its heavy tails widen the intervals where few errors are known.
    """

    def quantile(p: float) -> float:  # of Student's t with 2 degrees of freedom
        return (2 * p - 1) / (2 * p * (1 - p)) ** 0.5

    low, high = (low if low < 0.5 else 1 - high), (high if high > 0.5 else 1 - low)
    if low == high:  # the median alone: the yardstick is the deviation, take it for the 16 % and 84 % quantile
        low, high = 0.16, 0.84
    border = edges()[1:].double()
    t = torch.where(border >= 0, border * quantile(high), -border * quantile(low))
    return (0.5 + t / (2 * (2 + t.square()).sqrt())).float()
