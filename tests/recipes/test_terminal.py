"""Lines on the terminal."""

import io

from rich.console import Console

from xlstm_apps.recipes._terminal import tell


def test_names_of_files_stay_in_their_line_and_command_no_terminal():
    written = io.StringIO()
    tell(Console(file=written, width=20), ["a\nb\t[red]é\u00a0.png is empty", "\x1b[31m\x9b0m.png"])
    assert written.getvalue() == "a\\nb\\t[red]é\u00a0.png is empty\n\\x1b[31m\\x9b0m.png\n"
