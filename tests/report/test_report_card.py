"""The model card: text for people, metadata for the hub."""

import pytest
from huggingface_hub import ModelCard

from xlstm_apps.report import model_card


def test_says_what_it_is_and_how_good(run):
    text = model_card(run(), license="apache-2.0", intended_use="For tests.")
    card = ModelCard(text, ignore_metadata_errors=False)
    assert card.data.library_name == "xlstm-apps" and card.data.license == "apache-2.0"
    metrics = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert metrics["mae"] == pytest.approx(2.3104)
    assert "| xLSTM | **2.31** |" in text and "| seasonal naive | 3.04 |" in text
    assert "24\xa0% below seasonal naive" in text and "48 steps (2 days)" in text
    assert "forecast.predict(" in text and "For tests." in text
    assert text.startswith("---\n") and text.endswith("\n")


def test_is_honest_about_a_model_that_loses(run):
    assert "prefer it" in model_card(run(skill=-0.3))
    assert "prefer it" not in model_card(run())


def test_needs_no_file(tmp_path):
    text = model_card(tmp_path)
    assert "Not evaluated." in text and "No licence was stated" in text
    assert ModelCard(text, ignore_metadata_errors=False).data.eval_results is None


def test_what_users_named_is_no_markup(run):
    folder = run(path="a|b`c<img src=x>\n# d.csv")
    text = model_card(folder)
    assert "<img" not in text and "\n# d" not in text
    ModelCard(text, ignore_metadata_errors=False)
