"""fit / predict on data frames, and the joining of tables, models and training behind it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "forecaster": ["XLSTMForecaster"],
        "forecast_plan": ["ForecastPlan", "plan_forecast"],
        "molecule_generator": ["MoleculeGenerator"],
        "sequence_estimators": ["SequenceClassifier", "SequenceRegressor"],
        "vision_estimator": ["ViLClassifier"],
    },
)
