"""Kill switches together: that of the database, and a file that works when the database does not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SWITCH_VARIABLE = "TRADING_DAGSTER_KILL_SWITCH"
"""Names a file; while it exists, nothing is signed by any strategy of this machine."""
MAX_REASON = 200


class KillSwitch(Protocol):
    """What is asked before a cycle decides, and again right before each signature."""

    def is_on(self, strategy_id: str) -> str:
        """Return why a strategy may not sign, nothing when it may; never raises: what cannot be read is on."""
        ...


@dataclass(frozen=True, slots=True)
class FileKillSwitch:
    """On while a file exists, whatever is in it; its first line is the reason. ``touch FILE`` turns it on."""

    path: Path

    def is_on(self, strategy_id: str) -> str:  # noqa: ARG002 - a file stops every strategy
        """See KillSwitch.

        A switch that could not be turned on, because its folder is missing, counts as on: a mistyped path shows at the
        first start and not in an emergency.
        """
        if not self.path.is_absolute():
            return f"{SWITCH_VARIABLE} names {self.path}, which depends on the current folder: give an absolute path"
        try:
            # Followed by nobody: a link that leads nowhere is there, too.
            os.lstat(self.path)
        except FileNotFoundError:
            if self.path.parent.is_dir():
                return ""
            return f"{SWITCH_VARIABLE} names {self.path}, whose folder does not exist: make the folder"
        except OSError as error:
            return f"the kill switch {self.path} cannot be looked at, so nothing is signed ({error.strerror})"
        return f"the kill switch {self.path} is on{self._reason()}; remove the file to turn it off"

    def _reason(self) -> str:
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                line = file.readline(MAX_REASON).strip()
        except OSError:
            return ""
        return f": {line}" if line else ""


@dataclass(frozen=True, slots=True)
class KillSwitches:
    """Several switches, each of which stops everything."""

    switches: Sequence[KillSwitch]

    def is_on(self, strategy_id: str) -> str:
        """See KillSwitch."""
        return "; ".join(filter(None, (switch.is_on(strategy_id) for switch in self.switches)))


def with_emergency_file(switch: KillSwitch, environ: Mapping[str, str] = os.environ) -> KillSwitch:
    """Return a switch that is also on while the file exists that TRADING_DAGSTER_KILL_SWITCH names."""
    name = environ.get(SWITCH_VARIABLE)
    return KillSwitches((FileKillSwitch(Path(name)), switch)) if name else switch
