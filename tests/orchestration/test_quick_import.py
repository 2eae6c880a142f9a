"""Imports of the code location are quick: no collector runs meanwhile, and nothing is imported before it is needed."""

import gc
import subprocess
import sys

from trading_dagster.orchestration.quick_import import quick_import

HEAVY = ("matplotlib", "plotly", "scipy", "web3", "ccxt")


def test_collector_rests_while_importing_and_works_again_after():
    gc.unfreeze()
    with quick_import():
        assert not gc.isenabled()
    try:
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_code_location_imports_nothing_that_a_run_may_not_need():
    code = f"import trading_dagster.definitions, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "leak" not in done.stderr
