"""A fake run folder, and pages read back."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from fake_run import fake_run

from xlstm_apps.report import page

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Page(HTMLParser):
    """What a page consists of, with its tags checked for balance."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    scripts: list[tuple[dict[str, str | None], str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        """The words of the page, spaces made even."""
        return " ".join(" ".join(self.words).split())

    @property
    def data(self) -> list:
        """What the page's charts are drawn from."""
        return [json.loads(text) for attrs, text in self.scripts if attrs.get("type") == "application/json"]

    @property
    def sections(self) -> list[str]:
        return [attrs["id"] for tag, attrs in self.tags if tag == "section"]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def read_page(text: str) -> Page:
    parsed = Page()
    parsed.feed(text)
    parsed.close()
    assert parsed.open == [], "every tag is closed"
    return parsed


@pytest.fixture
def run(tmp_path):
    """Makes a run folder; arguments as in `fake_run`."""
    return lambda **options: fake_run(tmp_path / "run", **options)


@pytest.fixture
def read(monkeypatch):
    """Writes the report of a folder and reads it back, without the megabytes of plotly."""
    monkeypatch.setattr(page, "get_plotlyjs", lambda: "/* plotly */")
    return lambda folder: read_page(page.write_report(folder).read_text(encoding="utf-8"))


@pytest.fixture
def browse(tmp_path):
    """Writes the report of a folder, opens it in a browser and gives the body as it is then."""

    def open_page(folder) -> str:
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None:
            pytest.skip("no Chromium to open the page in")
        # The page tells what went wrong in itself, since a headless browser's console is not to be had from here.
        page.write_report(folder)
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom",
            (folder / "report.html").as_uri(),
        ]  # fmt: skip
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        return dom[dom.index("<body") :]

    return open_page
