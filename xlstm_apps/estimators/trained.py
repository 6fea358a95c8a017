"""A trained forecaster with all that using it takes: scaler, calibration, how its table was read. A folder on disk."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import polars as pl

from xlstm_apps.datasets import Scaler, SeriesData, SeriesTable, table_from_frame
from xlstm_apps.datasets.inference import UnknownStepError
from xlstm_apps.datasets.reading import settled
from xlstm_apps.estimators.forecast_calibration import calibrator_for
from xlstm_apps.estimators.forecast_frames import predict_frames, quantile_columns, sample_frames
from xlstm_apps.estimators.forecast_plan import ForecastPlan
from xlstm_apps.forecasting import Calibration, ForecastModel
from xlstm_apps.training import files


@dataclass(frozen=True, kw_only=True)
class TrainedForecaster:
    """What is needed to forecast any table like the training's."""

    model: ForecastModel
    scaler: Scaler
    """Of the training part. Series that it knows are scaled by it, others by their own rows."""
    calibration: Calibration | None
    """From held-out errors; None: nothing was held out, or it was not wanted."""
    freq: str
    data: SeriesData
    """How the training's table was read."""

    @classmethod
    def of(cls, plan: ForecastPlan, model: ForecastModel, data: SeriesData, *, calibrated: bool = True) -> Self:
        """After training on a plan.

        Args:
            plan: What it was trained on; rows behind its training part calibrate the intervals.
            model: On the device to compute on.
            data: How the table was read; what its cells told of day and month or of the decimal mark is added.
            calibrated: False: intervals stay as the model gives them.
        """
        calibrator = calibrator_for(model, plan.table, plan.scaler, plan.split) if calibrated else None
        return cls(
            model=model,
            scaler=plan.scaler,
            calibration=None if calibrator is None else calibrator.at_end(),
            freq=plan.table.freq,
            data=settled(data, plan.table.report),
        )

    @property
    def horizon(self) -> int:
        return self.model.head.prediction_length

    def reading(self) -> dict[str, Any]:
        """Fields of `SeriesData` that read a new table as this one's was: the same targets in the same order."""
        options = {f.name: getattr(self.data, f.name) for f in fields(SeriesData)}
        dropped = (
            ("path", "future_path", "freq", "split_rows") if self.data.resample is None else ("path", "future_path")
        )
        options = {name: value for name, value in options.items() if name not in dropped}
        if self.data.layout != "rows":
            options["target_columns"] = list(self.scaler.channels)
        return options

    def table_from(self, df: Any) -> SeriesTable:
        """A frame like the training's; where no series tells how far apart its rows are, as the model's.

        Raises:
            ValueError: It cannot be read.
        """
        try:
            return table_from_frame(df, **self.reading())
        except UnknownStepError:
            return table_from_frame(df, **{**self.reading(), "freq": self.freq})

    def scaler_for(self, table: SeriesTable) -> Scaler:
        """The scaler for another table.

        Raises:
            ValueError: Its steps, columns or covariates are not those the model was trained on.
        """
        if table.freq != self.freq:
            raise ValueError(
                f"the rows of this table are {table.freq} apart, but the model was trained on steps of {self.freq}; "
                "train on this table, or resample it"
            )
        return self.scaler.for_table(table)

    def predict(
        self,
        table: SeriesTable,
        *,
        device: Any = "cpu",
        quantiles: Sequence[float] | None = None,
        level: Sequence[float] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Frames of the forecast beyond the end of every series; see `predict_frames`."""
        return predict_frames(
            self.model,
            table,
            self.scaler_for(table),
            device,
            calibration=self.calibration,
            quantiles=quantiles,
            level=level,
        )

    def beyond(self, quantiles: Sequence[float] | None, level: Sequence[float] | None) -> str | None:
        """Says which of what is asked for the held-out errors do not support; None where they support all."""
        if self.calibration is None:
            return None
        return self.calibration.beyond(quantile_columns(self.model, quantiles, level, calibrated=True).values())

    def sample(self, table: SeriesTable, samples: int, *, device: Any = "cpu", seed: int = 0) -> Iterator[pl.DataFrame]:
        """Frames of possible futures beyond the end of every series; see `sample_frames`."""
        return sample_frames(
            self.model,
            table,
            self.scaler_for(table),
            device,
            calibration=self.calibration,
            samples=samples,
            seed=seed,
        )

    def save(self, folder: Path) -> None:
        """Write `config.json`, `model.safetensors`, `scaler.json`, `data.json` and the calibration into a folder."""
        self.model.save_pretrained(folder)
        files.write_json(folder / "data.json", {"freq": self.freq, "data": asdict(self.data)})
        files.write_text(folder / "scaler.json", json.dumps(self.scaler.to_dict()))
        if self.calibration is not None:
            self.calibration.to("cpu").save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, onto the CPU, wherever it was trained.

        Raises:
            ValueError: The folder holds no forecaster.
        """
        for name in ("config.json", "data.json", "scaler.json"):
            if not (folder / name).is_file():
                raise ValueError(f"{folder} holds no saved forecaster (no {name})")
        read = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        known = {f.name for f in fields(SeriesData)}
        return cls(
            model=ForecastModel.from_pretrained(folder),
            scaler=Scaler.from_dict(json.loads((folder / "scaler.json").read_text(encoding="utf-8"))),
            calibration=Calibration.load(folder),
            freq=read["freq"],
            data=SeriesData(**{name: value for name, value in read["data"].items() if name in known}),
        )

    def to(self, device: Any) -> Self:
        """The same on another device."""
        calibration = None if self.calibration is None else self.calibration.to(device)
        return replace(self, model=self.model.to(device), calibration=calibration)


def check_levels(quantiles: Sequence[float] | None, level: Sequence[float] | None) -> None:
    """Find the usual mix-up of the two before any work is done.

    Raises:
        ValueError: Both are given, a level is a share, or a quantile lies outside (0, 1).
    """
    if quantiles is not None and level is not None:
        raise ValueError("give quantiles or level, not both")
    for name, given, example in (("level", level, "[80, 95]"), ("quantiles", quantiles, "[0.1, 0.5, 0.9]")):
        if isinstance(given, float | int | str):
            raise ValueError(f"{name} is a list, such as {example}, not {given!r}")
    if level is not None and (not len(level) or any(not 1 <= x < 100 for x in level)):
        raise ValueError(
            f"level is in percent, from 1 to below 100, as in [80, 95], not {list(level)}; quantiles are shares"
        )
    if quantiles is not None and (not len(quantiles) or any(not 0 < q < 1 for q in quantiles)):
        raise ValueError(f"quantiles must lie between 0 and 1, as in [0.1, 0.5, 0.9], not {list(quantiles)}")
