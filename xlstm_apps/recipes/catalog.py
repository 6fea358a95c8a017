"""The shipped recipes: list them, copy one to edit."""

import shutil
from itertools import takewhile
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by its name, `<task>/<name>`."""
    return {str(path.relative_to(CONFIGS).with_suffix("")): path for path in sorted(CONFIGS.glob("*/*.yaml"))}


def recipe_path(name: str) -> Path:
    """The file of the recipe called `name`: `forecast/nyc-weather`, or `nyc-weather` where that is unique.

    Raises:
        ValueError: There is neither a file nor a recipe of that name.
    """
    recipes = shipped_recipes()
    wanted = name.removesuffix(".yaml")
    found = [path for key, path in recipes.items() if wanted in (key, key.partition("/")[2])]
    if len(found) != 1:
        raise ValueError(f"no file and no single shipped recipe is called '{name}'; there are: {', '.join(recipes)}")
    return found[0]


def describe_recipe(path: Path) -> dict[str, str]:
    """What a recipe's opening comment says: its title, and the `key: value` lines (source, command, time, metric)."""
    title, facts = "", {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        key, colon, value = line.lstrip("# ").partition(": ")
        if colon and key.islower() and " " not in key:
            facts[key] = value.strip()
        elif not facts:
            title = f"{title} {line.lstrip('# ')}".strip()
    return {"title": title, **facts}


def ls() -> None:
    """List the shipped recipes: what each does, how long it takes, what it should reach."""
    from rich.console import Console
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("recipe", no_wrap=True)
    for heading in ("what it does", "expected time", "expected metric"):
        table.add_column(heading)
    for name, path in shipped_recipes().items():
        facts = describe_recipe(path)
        table.add_row(name, facts["title"], facts.get("time", ""), facts.get("metric", ""))
    console = Console()
    console.print(table)
    console.print("copy one to edit: xlstm-apps cp NAME my.yaml    run it: xlstm-apps TASK VERB --config my.yaml")


def cp(recipe: str, to: str | None = None) -> None:
    """Copy a shipped recipe to a file of your own.

    Args:
        recipe: Name of the recipe, as `xlstm-apps ls` prints it.
        to: File or folder to write; the recipe's own name in this folder unless given.
    """
    source = recipe_path(recipe)
    target = Path(to) if to else Path(source.name)
    if target.is_dir():
        target = target / source.name
    if target.exists():
        raise ValueError(f"{target} exists already; give another name: xlstm-apps cp {recipe} OTHER.yaml")
    if not target.parent.is_dir():
        raise ValueError(f"the folder {target.parent} does not exist")
    shutil.copyfile(source, target)
    task = source.parent.name
    _, *words = describe_recipe(source).get("command", "").split()
    verbs = takewhile(lambda word: not word.startswith("-"), words[1:] if words[:1] == [task] else [])
    verb = " ".join(verbs) or "train"
    print(f"wrote {target}; run it with: xlstm-apps {task} {verb} --config {target}")
