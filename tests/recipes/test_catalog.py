"""Shipped recipes: found by name, described by their opening comment, copied but never over a file."""

import pytest

from xlstm_apps.recipes import catalog


def test_every_recipe_says_what_it_is():
    recipes = catalog.shipped_recipes()
    assert "forecast/nyc-weather" in recipes
    for name, path in recipes.items():
        facts = catalog.describe_recipe(path)
        assert facts["title"] and facts["command"].startswith("xlstm-apps") and facts["time"] and facts["metric"], name


def test_ls_prints_each(capsys):
    catalog.ls()
    assert "nyc-weather" in capsys.readouterr().out


def test_cp_writes_a_copy_and_keeps_what_is_there(tmp_path, capsys):
    target = tmp_path / "mine.yaml"
    catalog.cp("nyc-weather", str(target))
    assert target.read_bytes() == catalog.recipe_path("forecast/nyc-weather").read_bytes()
    assert str(target) in capsys.readouterr().out
    with pytest.raises(ValueError, match="exists already"):
        catalog.cp("nyc-weather", str(target))
    with pytest.raises(ValueError, match="does not exist"):
        catalog.cp("nyc-weather", str(tmp_path / "nowhere" / "mine.yaml"))


def test_unknown_recipe_names_the_known():
    with pytest.raises(ValueError, match="nyc-weather"):
        catalog.recipe_path("no-such-recipe")
