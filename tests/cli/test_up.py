"""The command ``up`` serves the UI from any folder, and ends on SIGINT with all that it started."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from cli.conftest import Run

pytestmark = [pytest.mark.dagster, pytest.mark.slow]
SECONDS = 120


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2):
            return True
    except OSError:
        return False


def test_up_serves_the_ui_until_it_is_interrupted(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    command = [sys.executable, "-m", "trading_dagster.cli.main", "up", "--port", str(port)]
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + SECONDS
            while not answers(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        finally:
            process.kill()

    assert not answers(port)
    assert f"http://127.0.0.1:{port}" in log.read_text()
    assert (tmp_path / ".dagster" / "dagster.yaml").is_file()


def test_a_port_in_use_is_refused(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        code, _, errors = run("up", "--port", port)

    assert code == 2
    assert f"--port {port} on 127.0.0.1 cannot be used" in errors
    assert "choose another port" in errors
