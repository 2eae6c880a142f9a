"""A command that runs beside the demo ends with it, and so does all that the command started."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from process_group import is_alive, wait_until_gone

from trading_dagster.demo.child import run_child

FAMILY = "sleep 600 & echo child $!; wait"
POLITE = """
import time
print("child", flush=True)
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("bye")
"""
PARENT = """
import sys, time
from pathlib import Path
from trading_dagster.demo.child import run_child
with run_child(["/bin/sh", "-c", sys.argv[1]], Path(sys.argv[2])) as child:
    print(child.pid, flush=True)
    time.sleep(600)
"""


def wait_for_words(log: Path) -> None:
    while "child" not in (log.read_text() if log.exists() else ""):
        time.sleep(0.01)


def test_command_and_its_children_end_with_the_block(tmp_path: Path):
    log = tmp_path / "logs" / "child.log"
    with run_child(["/bin/sh", "-c", FAMILY], log) as child:
        wait_for_words(log)
        assert child.poll() is None
    assert child.returncode is not None
    wait_until_gone(child.pid)


def test_command_that_ended_by_itself_leaves_no_children(tmp_path: Path):
    with run_child(["/bin/sh", "-c", "sleep 600 & exit 3"], tmp_path / "log") as child:
        assert child.wait() == 3
        assert is_alive(child.pid)  # the sleep
    wait_until_gone(child.pid)


def test_command_is_interrupted_first(tmp_path: Path):
    log = tmp_path / "log"
    with run_child([sys.executable, "-c", POLITE], log) as child:
        wait_for_words(log)
    assert child.returncode == 0
    assert log.read_text().split() == ["child", "bye"]


def test_everything_ends_when_the_parent_is_killed(tmp_path: Path):
    program, log = tmp_path / "parent.py", tmp_path / "log"
    program.write_text(PARENT)
    with subprocess.Popen([sys.executable, program, FAMILY, log], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        wait_for_words(log)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until_gone(group)
