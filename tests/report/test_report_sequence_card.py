"""The model cards of sequence runs."""

import pytest
from fake_sequence_run import fake_language_run, fake_prediction_run
from huggingface_hub import ModelCard

from xlstm_apps.report import model_card


def test_language_model(tmp_path):
    text = model_card(fake_language_run(tmp_path), license="mit")
    card = ModelCard(text, ignore_metadata_errors=False)
    assert card.data.license == "mit" and "dna" in card.data.tags
    metrics = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert metrics["bits"] == pytest.approx(1.912)
    assert "| xLSTM | **1.912** |" in text and "| Markov order 11 | 1.934 |" in text
    assert "xlstm-apps sequence score model" in text and "462,848 bases" in text
    assert "prefer it" not in text


def test_predictions(tmp_path):
    text = model_card(fake_prediction_run(tmp_path, skill=0.2))
    card = ModelCard(text, ignore_metadata_errors=False)
    assert {"mcc", "accuracy"} <= {result.metric_type for result in card.data.eval_results}
    assert "It predicts one of several classes (bacillus, ecoli) of a sequence of DNA." in text
    assert "prefer it" in text and "sequence predict model" in text


def test_near_copies_are_said(tmp_path):
    assert "The test is not independent of training." in model_card(fake_language_run(tmp_path, near_copies=99))


def test_what_users_named_is_no_markup(tmp_path):
    text = model_card(fake_prediction_run(tmp_path, classes=["a|b", "<img src=x>"], path="'x`y<img>\n\n# d.fa'"))
    assert "<img" not in text and "\n# d" not in text and "a|b" not in text
    ModelCard(text, ignore_metadata_errors=False)
