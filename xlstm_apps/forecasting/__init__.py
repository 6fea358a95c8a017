"""Forecasting: the xLSTM forecaster, its loss, its metrics and the baselines it has to beat."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "conformal": ["Calibration", "beyond_errors", "normalised_errors", "stretch"],
        "error_history": ["ErrorHistory", "Policy"],
        "config": ["CovariateSizes", "ForecastConfig"],
        "presets": ["BACKBONE", "PRESETS", "described", "with_preset"],
        "metrics": ["COVERED", "Scores", "owa"],
        "model": ["ForecastModel"],
        "module": ["ForecastModule", "pinball"],
        "seasons": ["Season", "choose_season", "naive_errors"],
        "baselines": ["naive2", "seasonal_naive"],
        "exponential": ["auto_ets", "check_fits"],
    },
)
