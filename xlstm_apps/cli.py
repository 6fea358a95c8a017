"""The command `xlstm-apps <task> <verb>`: a tree of recipe functions, whose signatures are the options.

A recipe function's parameters become `--section.key` flags, YAML keys and `--help` lines through jsonargparse. What a
user got wrong is answered in one line and exit code 2; an unexpected error keeps its traceback and exits with 1.
"""

import dataclasses
import difflib
import importlib
import inspect
import itertools
import json
import logging
import os
import re
import shutil
import sys
import textwrap
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union

from xlstm_apps.recipes._own_files import check_own_files

PROGRAM = "xlstm-apps"

# A leaf is a recipe function, or a list: other words for a longer command line.
COMMANDS: dict[str, Any] = {
    "demo": ["forecast", "train", "--config", "nyc-weather"],
    "forecast": {
        verb: f"xlstm_apps.recipes.forecast:{verb}"
        for verb in ("train", "predict", "evaluate", "backtest", "tune", "explain")
    },
    "sequence": {
        verb: f"xlstm_apps.recipes.sequence:{verb}"
        for verb in (
            "validate",
            "prepare",
            "train",
            "finetune",
            "predict",
            "score",
            "embed",
            "generate",
        )
    }
    | {verb: f"xlstm_apps.recipes.sequence_changes:{verb}" for verb in ("variants", "scan")}
    | {verb: f"xlstm_apps.recipes.sequence_family:{verb}" for verb in ("context", "fitness", "infill")}
    | {"designs": "xlstm_apps.recipes.sequence_designs:designs"}
    | {verb: f"xlstm_apps.recipes.molecules:{verb}" for verb in ("like", "filter", "evaluate")},
    "vision": {
        verb: f"xlstm_apps.recipes.vision:{verb}"
        for verb in ("train", "finetune", "evaluate", "predict", "embed", "explain", "export")
    }
    | {"segment": {verb: f"xlstm_apps.recipes.vision_segment:{verb}" for verb in ("train", "predict", "evaluate")}},
    "ls": "xlstm_apps.recipes.catalog:ls",
    "cp": "xlstm_apps.recipes.catalog:cp",
    "doctor": "xlstm_apps.recipes.doctor:doctor",
}


class UsageError(ValueError):
    """The command line itself is wrong; the message is one line of advice."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command in `argv` (default: the process arguments) and exit.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 stopped from the keyboard, 141 nobody reads the output.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        code = run(argv) or 0
        sys.stdout.flush()
        sys.exit(code)
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # as by `| head`; what is left in the buffer must not be tried again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (ValueError, OSError, ImportError) as error:
        our_own_mistake = isinstance(error, ImportError) and (error.name or "").startswith("xlstm_apps")
        if our_own_mistake or os.environ.get("XLSTM_APPS_TRACEBACK"):
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"{PROGRAM}: error: {message}", file=sys.stderr)
        sys.exit(2)


def run(argv: list[str]) -> int | None:
    """Find the function that `argv` names, parse the rest for it and call it; returns its exit code, if it has one."""
    name, node = PROGRAM, COMMANDS
    while isinstance(node, dict):
        word, *argv = argv or ["--help"]
        if word in ("-h", "--help"):
            print(overview(name, node))
            return 0
        if word == "--version" and node is COMMANDS:
            from xlstm_apps import __version__

            print(__version__)
            return 0
        if word not in node:
            raise UsageError(f"unknown command '{word}'{did_you_mean(word, node) or ';'} try: {name} --help")
        name, node = f"{name} {word}", node[word]
    if isinstance(node, list):
        return run([*node, *argv])
    function = load(node)
    options = option_types(function)
    if not argv and not options:
        return function()  # no parser: `doctor` answers where a package is missing, too
    parser = build_parser(name, function)
    arguments = parse(parser, normalise(argv, function, options), options)
    check_own_files(arguments)
    show_log()
    return function(**arguments)


def load(target: str) -> Callable[..., int | None]:
    """The function that `module:name` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def overview(name: str, node: dict[str, Any]) -> str:
    """The help page of a command that has sub-commands."""
    rows: list[tuple[str, str]] = []

    def collect(prefix: str, tree: dict[str, Any]) -> None:
        for word, child in tree.items():
            if isinstance(child, dict):
                collect(f"{prefix}{word} ", child)
            elif isinstance(child, list):
                rows.append((prefix + word, f"Short for: {PROGRAM} {' '.join(child)}"))
            else:
                rows.append((prefix + word, (inspect.getdoc(load(child)) or "").partition("\n")[0]))

    collect("", node)
    width = max(len(command) for command, _ in rows)
    columns, indent = shutil.get_terminal_size().columns, " " * (width + 4)
    lines = [
        textwrap.fill(f"  {command:<{width}}  {summary}", columns, subsequent_indent=indent)
        for command, summary in rows
    ]
    return "\n".join(
        [f"usage: {name} <command> [--config recipe.yaml] [--section.key value ...]", "", *lines, "",
         f"{name} <command> --help lists a command's options; --print_config writes them as a YAML recipe."]
    )  # fmt: skip


def build_parser(name: str, function: Callable[..., Any]) -> Any:
    """A jsonargparse parser whose options are `function`'s parameters."""
    from jsonargparse import ActionConfigFile, ArgumentParser, set_parsing_settings

    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    description = (inspect.getdoc(function) or "").partition("\nArgs:")[0].strip()
    parser = ArgumentParser(
        prog=name,
        usage=usage(name, function),
        description=description,
        formatter_class=help_formatter(option_types(function)),
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of the options below; flags win")
    parser.add_function_arguments(function, as_group=False, as_positional=False, fail_untyped=True)
    return parser


def usage(name: str, function: Callable[..., Any]) -> str:
    """The line that shows what has to be given: words after the verb, then options without a default."""
    words, flags = [], []
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            continue
        hint = typing.get_type_hints(function)[key]
        if dataclasses.is_dataclass(hint):
            missing = (dataclasses.MISSING, dataclasses.MISSING)
            open_fields = [f.name for f in dataclasses.fields(hint) if (f.default, f.default_factory) == missing]
            flags += [f"--{key}.{field} {field.upper()}" for field in open_fields]
        elif flags:
            flags.append(f"--{key} {key.upper()}")
        else:
            words.append(key.upper())
    return " ".join([name, *words, *flags, "[--config recipe.yaml]", "[--section.key value ...]"])


def help_formatter(options: dict[str, Any]) -> Any:
    """How `--help` is laid out: paragraphs as written, and behind each option its type and default in words."""
    from jsonargparse import DefaultHelpFormatter

    class Formatter(DefaultHelpFormatter):
        def _fill_text(self, text: str, width: int, indent: str) -> str:
            return "\n\n".join(super(Formatter, self)._fill_text(part, width, indent) for part in text.split("\n\n"))

        def _format_action_invocation(self, action: Any) -> str:
            return super()._format_action_invocation(action).partition(f", --{action.dest}+")[0]

        def _get_help_string(self, action: Any) -> str:
            if action.dest == "print_config":
                return "Write the options, as given and by default, as a YAML recipe and exit"
            if action.dest not in options:
                return super()._get_help_string(action)
            hint = options[action.dest]
            kinds = [kind for kind in members(hint) if kind not in (NoneType, str, bool)]
            shown_already = not kinds or typing.get_origin(hint) is Literal  # as {a,b}, or by the default
            facts = [] if shown_already else [" or ".join(describe(kind) for kind in kinds)]
            shown = str(action.default).lower() if isinstance(action.default, bool) else "%(default)s"
            facts.append("required" if action.required else f"default: {shown}")
            # Python's None is YAML's null, and that is what a reader of this page can type.
            return f"{re.sub(r'(?<!`)None:', 'null:', action.help or '')} ({'; '.join(facts)})"

    return Formatter


def option_types(function: Callable[..., Any]) -> dict[str, Any]:
    """Every option of `function` and its type: `{"seed": int, "fit.max_epochs": int, ...}`."""

    def walk(prefix: str, hints: dict[str, Any]) -> dict[str, Any]:
        types: dict[str, Any] = {}
        for key, hint in hints.items():
            if key == "return":
                continue
            if dataclasses.is_dataclass(hint):
                types |= walk(f"{prefix}{key}.", typing.get_type_hints(hint))
            else:
                types[prefix + key] = hint
        return types

    return walk("", typing.get_type_hints(function))


def normalise(argv: list[str], function: Callable[..., Any], options: dict[str, Any]) -> list[str]:
    """Let people type what they expect to work.

    `predict runs/a` fills the leading plain parameters in order, `--resume` alone means true,
    `--head.quantiles 0.1,0.9` is a list, and `--config nyc-weather` finds the shipped recipe of that name.
    """
    positional = list(itertools.takewhile(options.__contains__, inspect.signature(function).parameters))
    result: list[str] = []
    tokens = list(argv)
    while tokens and positional and not tokens[0].startswith("-"):
        result += [f"--{positional.pop(0)}", tokens.pop(0)]
    while tokens:
        token = tokens.pop(0)
        option, equals, value = token.partition("=")
        key = option.removeprefix("--")
        kinds = members(options.get(key))
        if not equals and bool in kinds and (not tokens or tokens[0].startswith("-")):
            equals, value = "=", "true"
        elif not equals and (key == "config" or any(typing.get_origin(kind) in (list, tuple) for kind in kinds)):
            if not tokens:
                raise UsageError(f"{option} needs a value")
            equals, value = "=", tokens.pop(0)
            while key != "config" and tokens and not tokens[0].startswith("-"):  # as a shell expands genomes/*.fa
                value = f"{value},{tokens.pop(0)}"
        if key == "config":
            value = find_recipe(value)
        elif (
            equals
            and value != "null"
            and value[:1] != "["
            and any(typing.get_origin(kind) in (list, tuple) for kind in kinds)
        ):
            texts = any(typing.get_origin(kind) is list and typing.get_args(kind) == (str,) for kind in kinds)
            if texts and value:  # a contig called 2 is a name, not a number
                value = json.dumps([item.strip() for item in value.split(",")])
            value = value if value in literal_values(kinds) or value[:1] == "[" else f"[{value}]"
        result.append(f"{option}{equals}{value}")
    return result


def find_recipe(name: str) -> str:
    """The path of a YAML file, or of the shipped recipe called `name`, whatever folder is called so too."""
    if os.path.exists(name) and not os.path.isdir(name):
        return name
    from xlstm_apps.recipes.catalog import recipe_path

    return str(recipe_path(name))


def parse(parser: Any, argv: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Parse `argv` and build the section objects; every mistake becomes a `UsageError` of one line."""
    from argparse import ArgumentError

    try:
        config = parser.parse_args(argv)
    except ArgumentError as error:
        recipes = [token.removeprefix("--config=") for token in argv if token.startswith("--config=")]
        raise UsageError(one_line(error.message, options, recipes)) from None
    arguments = vars(parser.instantiate(config))
    return {key: value for key, value in arguments.items() if key != "config"}


def one_line(message: str, options: dict[str, Any], recipes: list[str]) -> str:
    """jsonargparse's nested message as one line that names the option, what it expects and what it got."""
    in_file = f"{', '.join(recipes)}: " if recipes else ""
    unknown = re.match(r"unrecognized arguments?: --([^\s=]+)", message)
    if unknown:
        return f"unknown option --{unknown[1]}{did_you_mean(unknown[1], options, '--')}; --help lists them all"
    key = re.findall(r'[Kk]ey "([\w.]+)"', message)
    got = re.search(r"(?:Got value|Given value): (.*)", message)
    if key and got and key[-1] in options:
        return f"--{key[-1]}: expected {describe(options[key[-1]])}, got '{got[1].strip()}'"
    stranger = re.search(r"Group '([\w.]+)' does not accept option '(\w+)'|Option '([\w.]+)' is not accepted", message)
    if stranger:
        name = stranger[3] or f"{stranger[1]}.{stranger[2]}"
        return f"{in_file}unknown option {name}{did_you_mean(name, options)}; --help lists them all"
    lone = re.match(r"argument (--\S+): expected one argument", message)
    if lone:
        return f"{lone[1]} needs a value"
    stray = re.match(r"unrecognized arguments?: (.*)", message)
    if stray:
        return f"'{stray[1]}' belongs to no option; --help lists them all"
    missing = re.match(r"the following arguments are required: (.*)", message)
    if missing:
        return f"missing --{missing[1].replace(', ', ' and --')}"
    return in_file + " ".join(message.split())


def members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union type, or the type itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (Union, UnionType) else (hint,)


def literal_values(kinds: tuple[Any, ...]) -> list[Any]:
    """The values that the `Literal` types among `kinds` allow."""
    return [value for kind in kinds if typing.get_origin(kind) is Literal for value in typing.get_args(kind)]


def describe(hint: Any) -> str:
    """A type in words: `one of 'auto', 'wide'`, `a list of float`, `int or null`."""
    words = []
    for kind in members(hint):
        origin = typing.get_origin(kind)
        if kind is NoneType:
            words.append("null")
        elif origin is Literal:
            values = [f"'{value}'" for value in typing.get_args(kind)]
            words.append(f"one of {', '.join(values)}" if len(values) > 1 else values[0])
        elif origin in (list, tuple):
            words.append(f"a list of {describe(typing.get_args(kind)[0])}, as in a,b")
        else:
            words.append(getattr(kind, "__name__", str(kind)))
    return " or ".join(words)


def did_you_mean(word: str, known: Any, prefix: str = "") -> str:
    """`; did you mean X?` where something known looks like `word`, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def show_log() -> None:
    """Show the package's own log lines (which backend runs, what was skipped) on the error stream."""
    logger = logging.getLogger("xlstm_apps")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


if __name__ == "__main__":
    main()
