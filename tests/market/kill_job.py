"""What the processes do that `test_lake_kill` kills. Run as a program it forks one a line, so that they start at once.

Each line of input is a job and its arguments as JSON; the answers are the id of its process, then how it ended.
"""

import json
import os
import sys
import threading
import traceback
from datetime import UTC, datetime

import ccxt
from tqdm.auto import tqdm

from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.exchange_api import CcxtApi, Patience
from trading_dagster.market.exchange_source import ExchangeSource
from trading_dagster.market.file_source import FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_compaction import compact_lake
from trading_dagster.market.lake_import import import_candles


def open_exchange(url, now):
    api = CcxtApi("binance", api_url=url, patience=Patience(sleep=lambda seconds: None))
    api._exchange.enableRateLimit = False
    return ExchangeSource(api, pairs=["BTC/USDT", "ETH/USDT"], now=lambda: now.replace(tzinfo=UTC))


def download(folder, url, now):
    source = open_exchange(url, datetime.fromisoformat(now))
    import_candles(Lake(folder), source, bucket=TimeBucket.h1, checkpoint_s=0.0)


def import_file(folder, path):
    import_candles(Lake(folder), FileSource(path, name="dirty"), drop_broken=True, checkpoint_s=0.0)


def compact(folder):
    compact_lake(Lake(folder))


ccxt.binance()  # what it loads once is loaded before the first fork
JOBS = {"download": download, "import": import_file, "compaction": compact}


def work(job, arguments):
    tqdm.set_lock(threading.RLock())  # its own is shared by all forks: one that is killed would never give it back
    code = 1
    try:
        JOBS[job](*arguments)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def serve():
    for line in sys.stdin:
        job, *arguments = json.loads(line)
        process = os.fork()
        if process == 0:
            work(job, arguments)
        tell(process)
        _, status = os.waitpid(process, 0)
        tell(os.waitstatus_to_exitcode(status))


def tell(number):
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
