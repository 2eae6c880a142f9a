"""Groups of processes that tests start, and that must be gone afterwards."""

import os
import time


def is_alive(group):
    """Tell whether any process of a group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(group):
    """Wait for the system to clear away what was killed."""
    end = time.monotonic() + 300
    while is_alive(group):
        assert time.monotonic() < end, f"processes of group {group} live on"
        time.sleep(0.02)
