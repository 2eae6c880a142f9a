"""The documentation's Python is run: what it says must be so.

A fenced block marked ``python runnable`` is executed, those of one page in order and in one namespace. A block marked
``python file=NAME`` is written to that file first. All run in an empty folder that has ``strategies/`` beside it.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```python (?P<mark>runnable|file=(?P<file>\S+))\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)#:]+)\)")


@pytest.fixture
def reader_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "strategies").symlink_to(ROOT / "strategies")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_the_page_runs(page: Path, reader_folder: Path) -> None:
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "docs"}

    for block in BLOCK.finditer(text):
        if block["file"]:
            (reader_folder / block["file"]).write_text(block["code"], encoding="utf-8")
            continue
        line = text.count("\n", 0, block.start("code"))
        exec(compile("\n" * line + block["code"], str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_is_marked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert len(re.findall(r"^```python", text, re.MULTILINE)) == len(BLOCK.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    targets = [page.parent / match["target"] for match in LINK.finditer(text)]
    named = re.findall(r"`((?:trading_dagster|strategies|tests)/[\w/.]+)`", text)

    assert [target for target in targets if not target.exists()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_there_are_pages_with_code_to_run() -> None:
    assert sum(len(BLOCK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) >= 10
