"""Settings and fixtures that tests of every layer share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).parents[2] / "shared"

settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Find the folder of real market data that may not be committed.

    Where it is absent, the test is skipped; in CI it must not be.
    """
    asked = os.environ.get("TRADING_DAGSTER_TEST_DATA")
    folder = Path(asked) if asked else SHARED / "data"
    if folder.is_dir():
        return folder
    if asked or (os.environ.get("CI") == "true" and SHARED.exists()):
        pytest.fail(f"the folder of test data does not exist: {folder}")
    pytest.skip(f"no real market data: set TRADING_DAGSTER_TEST_DATA to its folder, or put it at {folder}")
