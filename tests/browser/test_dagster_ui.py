"""What a person sees of the demo in the Dagster UI; set TRADING_DAGSTER_SCREENSHOTS to keep the pictures."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = [pytest.mark.browser, pytest.mark.dagster, pytest.mark.slow]
WAIT_SECONDS = 60
ASSETS = ("universe", "indicators", "decisions", "trades", "portfolio", "statistics", "report")


class Look:
    """Opens pages of the UI, waits for texts on them, and keeps a picture of each."""

    def __init__(self, browser: WebDriver, address: str, folder: Path) -> None:
        self.browser, self._address, self._folder = browser, address, folder

    def at(self, path: str, *texts: str) -> str:
        """Open a page and return its text once all the texts are on it."""
        self.browser.get(self._address + path)
        self.until(lambda: all(text in self.text for text in texts), f"{path} does not show {texts}")
        return self.text

    @property
    def text(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "body").text

    def until(self, holds: Callable[[], bool], message: str) -> None:
        WebDriverWait(self.browser, WAIT_SECONDS).until(lambda _: holds(), message)

    def keep(self, name: str) -> None:
        time.sleep(1)  # let animations end
        self.browser.save_screenshot(str(self._folder / f"{name}.png"))


@pytest.fixture
def look(browser: WebDriver, webserver: str, screenshots: Path) -> Look:
    return Look(browser, webserver, screenshots)


def test_lineage_has_a_group_for_each_strategy(look: Look) -> None:
    strategies = ("breakout_atr", "buy_and_hold", "ema_cross", "momentum_rotation", "rsi_mean_reversion")

    look.at("/asset-groups", "Global asset lineage", *strategies)

    look.keep("lineage")


def test_group_shows_the_assets_in_order_materialized(look: Look) -> None:
    look.at("/locations/trading/asset-groups/ema_cross/lineage", *ASSETS)

    look.keep("group")


def test_all_partitions_are_filled(look: Look) -> None:
    look.at("/assets/ema_cross/portfolio?view=partitions", "Materialized (22)", "Missing (0)", "Failed (0)", "2019-10")

    look.keep("partitions")


def test_a_partition_shows_its_numbers(look: Look) -> None:
    text = look.at("/assets/ema_cross/portfolio?view=partitions&partition=2018-05", "equity_usd", "began_from")

    assert "2018-05-01 00:00:00 to 2018-06-01 00:00:00" in text
    assert "Unsynced" not in text
    look.keep("partition")


def test_equity_picture_is_shown_inline(look: Look) -> None:
    look.at("/assets/ema_cross/portfolio?view=overview", "equity_curve", "[Show Markdown]")
    row = look.browser.find_element(By.XPATH, "//tr[.//*[text()='equity_curve']]")
    look.browser.execute_script("arguments[0].scrollIntoView()", row)
    row.find_element(By.XPATH, ".//*[text()='[Show Markdown]']").click()

    def is_painted() -> bool:
        script = "return [...document.querySelectorAll('img')].map(i => [i.src.slice(0, 26), i.naturalWidth])"
        images = look.browser.execute_script(script)
        return ["data:image/svg+xml;base64,", 900] in images

    look.until(is_painted, "no picture is painted")
    look.keep("equity")


def test_numbers_are_plotted_over_partitions(look: Look) -> None:
    look.at("/assets/ema_cross/portfolio?view=overview", "equity_usd", "Plots")
    look.browser.find_element(By.XPATH, "//button[normalize-space()='Plots']").click()
    look.until(lambda: bool(look.browser.find_elements(By.TAG_NAME, "canvas")), "no plot is drawn")

    look.keep("plots")


def test_checks_are_shown_and_passed(look: Look) -> None:
    text = look.at("/assets/ema_cross/portfolio?view=checks", "chain_unbroken", "ledger_replays", "never_negative")

    assert text.count("Succeeded") == 3
    look.keep("checks")


def test_statistics_show_the_summary_table(look: Look) -> None:
    text = look.at("/assets/ema_cross/statistics?view=overview", "Hold BTC-USD", "Sortino")

    assert "14,922.59" in text
    look.keep("statistics")


def test_runs_are_listed_with_their_range(look: Look) -> None:
    text = look.at("/runs", "Success")

    assert "Failure" not in text.replace("Failed", "")
    look.keep("runs")


def test_universe_shows_its_pairs(look: Look) -> None:
    look.at("/assets/ema_cross/universe?view=overview", "BTC-USD", "coinbase", "15,697")

    look.keep("universe")
