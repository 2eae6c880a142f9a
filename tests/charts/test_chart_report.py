"""The report is one file that shows everything, loads nothing and executes nothing it was given."""

import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from datetime import timedelta
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from trading_dagster.charts.report import ReportContent, render_report, write_report
from trading_dagster.charts.table import PAIR_COLUMNS, pack_table, summarise_pairs, summary_table_html
from trading_dagster.charts.tile import choose_tiles, find_metric

HOSTILE = "<script>window.hacked=1</script>&\"'</script><img src=x onerror=window.hacked=1>"
FEBRUARY = pd.Timestamp(2023, 2, 1)
LOADING = {"src", "href", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href", "ping"}


class Reader(HTMLParser):
    """Collects elements, attributes that load something, styles, embedded data and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.loaded: list[str] = []
        self.styles: list[str] = []
        self.data: dict[str, object] = {}
        self.text = ""
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.loaded += [value or "" for name, value in attrs if name in LOADING]
        self.styles += [value or "" for name, value in attrs if name == "style"]
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in {"meta", "link", "input", "br", "img"}:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "style":
            self.styles.append(data)
        elif tag == "script" and attributes.get("type") == "application/json":
            self.data[str(attributes["id"])] = json.loads(data)
        elif tag != "script":
            self.text += data


@pytest.fixture
def content(candles, equity, trading):
    trades, positions = trading
    return ReportContent(
        name="Trend",
        equity=equity,
        trades=trades,
        positions=positions,
        benchmarks=equity * 0.9,
        candles={"BTC-USD": candles},
        overlays={"BTC-USD": {"SMA": candles["close"].rolling(20).mean()}},
        summary=pd.DataFrame({"All": [0.5, "-"], "Long": [0.4, 1]}, index=["Return %", "Positions"]),
        metrics={"Sharpe": 1.5, "Profit Factor": 1.2},
        parameters={"fast": 10, "period": timedelta(days=30), "start": FEBRUARY},
        messages={FEBRUARY: ["opened", "closed"]},
        data_quality=["no gaps"],
        footer="version 1",
    )


def replace(content: ReportContent, **changes: object) -> ReportContent:
    values = {name: getattr(content, name) for name in ReportContent.__dataclass_fields__}
    return ReportContent(**{**values, **changes})


def table_of(page: Reader, label: str) -> dict[str, list[object]]:
    for value in page.data.values():
        if (
            isinstance(value, dict)
            and "rows" in value
            and value["columns"]
            and any(c["label"] == label for c in value["columns"])
        ):
            return {column["label"]: column["values"] for column in value["columns"]}
    raise AssertionError(label)


def figures_of(page: Reader) -> list[dict[str, object]]:
    return [value for value in page.data.values() if isinstance(value, dict) and "layout" in value]


def test_report_shows_every_part(content):
    page = Reader(render_report(content))
    headings = ["Equity", "Price and trades", "Returns", "Statistics", "Pairs", "Positions", "Trades", "Messages"]
    for heading in (*headings, "Data quality", "Parameters"):
        assert heading in page.text
    for text in ("Trend", "2023-01-15", "Total return", "50.00 %", "30 d", "no gaps", "version 1", "1.50", "1.20"):
        assert text in page.text
    assert len(figures_of(page)) == 6
    assert len(table_of(page, "Executed")["#"]) == 80
    assert len(table_of(page, "Closed")["#"]) == 40
    assert page.open == []


def test_report_carries_plotly_once_and_forbids_to_load_anything(content):
    html = render_report(content)
    assert html.count("plotly.js v") == 1
    assert "default-src 'none'" in html


def test_nothing_would_be_fetched(content):
    page = Reader(render_report(content))
    assert [url for url in page.loaded if not url.startswith(("#", "data:,"))] == []
    styles = "\n".join(page.styles)
    assert "@import" not in styles
    assert "url(" not in styles
    assert page.tags["iframe"] == page.tags["object"] == page.tags["base"] == page.tags["form"] == 0
    assert not re.search(r"https?://", page.text)


def test_hostile_texts_are_only_ever_text(content):
    trades = content.trades.assign(notes=HOSTILE, pair=HOSTILE)
    positions = content.positions.assign(pair=HOSTILE, close_reason=HOSTILE)
    html = render_report(
        replace(
            content,
            name=HOSTILE,
            trades=trades,
            positions=positions,
            candles={HOSTILE: content.candles["BTC-USD"]},
            overlays={HOSTILE: {HOSTILE: content.candles["BTC-USD"]["close"]}},
            benchmarks={HOSTILE: content.equity},
            summary=pd.DataFrame({HOSTILE: [HOSTILE]}, index=[HOSTILE]),
            metrics={HOSTILE: HOSTILE},
            parameters={HOSTILE: HOSTILE},
            messages={FEBRUARY: [HOSTILE]},
            data_quality=[HOSTILE],
            footer=HOSTILE,
        )
    )
    page = Reader(html)
    clean = Reader(render_report(content))
    assert page.tags["script"] == clean.tags["script"]
    assert page.tags["img"] == 0
    assert page.text.count(HOSTILE) >= 6
    assert HOSTILE not in html
    assert table_of(page, "Executed")["Notes"][0] == HOSTILE


def test_report_without_trades_says_so(content, no_trades, no_positions):
    page = Reader(render_report(replace(content, trades=no_trades, positions=no_positions)))
    assert "No trades were made" in page.text
    assert "Price and trades" in page.text


@pytest.mark.parametrize("dtype", ["datetime64[us]", "datetime64[ns]", "object"])
def test_failed_trade_and_open_position_have_no_time(content, dtype):
    trades, positions = content.trades, content.positions
    trades.loc[0, ["status", "executed_at", "executed_price"]] = ["failed", pd.NaT, np.nan]
    positions.loc[39, ["status", "closed_at", "closing_price", "duration"]] = ["open", pd.NaT, np.nan, pd.NaT]
    trades["executed_at"] = trades["executed_at"].astype(dtype)
    positions["closed_at"] = positions["closed_at"].astype(dtype)
    page = Reader(render_report(replace(content, trades=trades, positions=positions)))
    executed, closed = table_of(page, "Executed"), table_of(page, "Closed")
    assert executed["Executed"][0] is None
    assert executed["Executed"][1] == int(pd.Timestamp(trades["executed_at"][1]).timestamp())
    assert closed["Closed"][39] is None
    assert closed["Duration"][39] is None
    assert "1 failed" in page.text


@pytest.mark.parametrize("count", [0, 1, 2])
def test_report_of_a_very_short_run(content, no_trades, no_positions, count):
    html = render_report(
        ReportContent(name="Short", equity=content.equity.iloc[:count], trades=no_trades, positions=no_positions)
    )
    page = Reader(html)
    assert len(figures_of(page)) >= 1
    assert ("Returns need at least two samples" in page.text) == (count < 2)


def test_nan_equity_never_reaches_the_page(content):
    equity = content.equity.copy()
    equity.iloc[5:5_000:3] = np.nan
    page = Reader(render_report(replace(content, equity=equity)))
    assert len(page.data) > 5
    assert "nan" not in page.text.lower()


def test_same_content_gives_the_same_text(content):
    assert render_report(content) == render_report(content)


def test_six_pairs_with_most_trades_are_charted(content, candles, make_trading):
    made = [make_trading(candles, 2 + number, f"P{number}-USD") for number in range(9)]
    trades = pd.concat([trades for trades, _ in made], ignore_index=True)
    positions = pd.concat([positions for _, positions in made], ignore_index=True)
    short = candles.iloc[:200]
    html = render_report(
        replace(content, trades=trades, positions=positions, candles={f"P{number}-USD": short for number in range(9)})
    )
    tabs = re.findall(r'role="tab"[^>]*>([^<]+)<', html)
    assert tabs == [f"P{number}-USD" for number in (8, 7, 6, 5, 4, 3)]
    assert len(table_of(Reader(html), "Win rate")["Pair"]) == 9


def test_twenty_thousand_trades_stay_data_of_a_paged_table(content, make_candles, make_trading):
    candles = make_candles(40_000)
    trades, positions = make_trading(candles, 10_000)
    started = time.perf_counter()
    html = render_report(
        replace(content, equity=candles["close"], trades=trades, positions=positions, candles={"BTC-USD": candles})
    )
    assert time.perf_counter() - started < 30
    page = Reader(html)
    assert len(table_of(page, "Executed")["#"]) == 20_000
    assert page.tags["tr"] < 200
    assert "the latest 4,000 of 20,000 trades are marked" in page.text
    assert len(html) < 14_000_000


def test_table_leaves_out_empty_columns_and_keeps_values(trading):
    _, positions = trading
    columns = {column["label"]: column["values"] for column in pack_table(positions, PAIR_COLUMNS)["columns"]}
    assert set(columns) == {"Pair", "Fees"}
    assert columns["Fees"] == [6] * 40


def test_pairs_are_summarised(trading):
    trades, positions = trading
    row = summarise_pairs(trades, positions).iloc[0]
    assert row["positions"] == 40
    assert row["trades"] == 80
    assert row["won"] + row["lost"] == 40
    assert row["profit"] == pytest.approx(positions["realised_profit"].sum())
    assert row["volume"] == 80_000
    assert row["fees"] == 240
    assert row["stop_losses"] == row["take_profits"] == 10


def test_long_summary_is_split_into_two_halves():
    summary = pd.DataFrame({"All": range(30)}, index=[f"row {number}" for number in range(30)])
    assert summary_table_html(summary).count("<table") == 2
    assert summary_table_html(summary.iloc[:5]).count("<table") == 1


def test_tiles_prefer_given_measures_and_compute_the_rest(content):
    chosen = choose_tiles(content.equity, content.benchmarks, content.trades, content.positions, content.metrics)
    tiles = {tile.label: tile for tile in chosen}
    equity = content.equity
    assert tiles["Sharpe"].value == "1.50"
    assert tiles["Total return"].note.startswith("Buy and hold")
    assert tiles["Max drawdown"].value == f"\u2212{-(equity / equity.cummax() - 1).min():.2%}".replace("%", " %")
    assert tiles["Trades"].value == "80"
    assert find_metric({"Max-Drawdown ": -0.5}, ("maxdrawdown",)) == -0.5
    assert find_metric({"Sharpe": "n/a"}, ("sharpe",)) is None


def test_report_is_written_whole_or_not_at_all(content, tmp_path, monkeypatch):
    path = tmp_path / "new" / "report.html"
    assert write_report(path, content) == path
    before = path.read_text(encoding="utf-8")
    assert before == render_report(content)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_report(path, replace(content, name="Other"))
    assert path.read_text(encoding="utf-8") == before
    assert [entry.name for entry in path.parent.iterdir()] == ["report.html"]


CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
PROBE = """<script>
addEventListener("error", (event) => document.body.dataset.failed = event.message);
addEventListener("securitypolicyviolation", (event) => document.body.dataset.refused = event.blockedURI);
setTimeout(() => {
  document.querySelector("#equity [data-span='30']").click();
  document.querySelector("#equity [data-log]").click();
  const search = document.querySelector("#trades input");
  search.value = "stop loss";
  search.dispatchEvent(new Event("input"));
  document.querySelectorAll("#trades th")[0].click();
  document.querySelectorAll("#trades th")[0].click();
  setTimeout(() => {
    const range = document.querySelector("#equity .figure").layout.xaxis.range;
    document.body.dataset.days = String(Math.round((Date.parse(range[1]) - Date.parse(range[0])) / 86400000));
    document.body.dataset.plots = String(document.querySelectorAll(".main-svg").length);
    document.body.dataset.rows = String(document.querySelectorAll("#trades tbody tr").length);
    document.body.dataset.first = document.querySelector("#trades tbody td").textContent;
    document.body.dataset.cloud = String(document.querySelectorAll("[data-title*='hare']").length);
    document.body.dataset.buttons = String(document.querySelectorAll("#equity .modebar-btn").length);
    document.body.dataset.hacked = String(window.hacked ?? "no");
  }, 1500);
}, 1500);
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_browser_shows_the_report_without_network_or_errors(content, tmp_path):
    path = tmp_path / "report.html"
    html = render_report(replace(content, name=HOSTILE, messages={FEBRUARY: [HOSTILE]}))
    path.write_text(html.replace("</body>", PROBE), encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--enable-logging=stderr", "--v=0",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,5000", "--virtual-time-budget=20000",
            "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    seen = dict(re.findall(r'data-(\w+)="([^"]*)"', re.search(r"<body[^>]*>", done.stdout).group()))
    assert console == []
    assert "failed" not in seen
    assert "refused" not in seen
    assert seen["hacked"] == "no"
    assert seen["cloud"] == "0"
    assert seen["buttons"] == "6"
    assert int(seen["plots"]) >= 6
    assert seen["days"] == "30"
    assert seen["rows"] == "10"
    assert seen["first"] == "76"
