"""Check that a wheel ships every tracked file of the packages and nothing else of ours.

Usage: ``check_wheel.py WHEEL``
"""

import subprocess
import sys
from zipfile import ZipFile

PACKAGES = ("trading_dagster", "assets", "sensors", "strategies")


def main() -> int:
    """Print what is missing or too much in the wheel named on the command line; return 1 if anything is."""
    with ZipFile(sys.argv[1]) as wheel:
        shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    listing = subprocess.run(["git", "ls-files", *PACKAGES], check=True, capture_output=True, text=True).stdout
    tracked = set(listing.splitlines())
    for name in sorted(tracked - shipped):
        print(f"missing in the wheel (see package-data in pyproject.toml): {name}")
    for name in sorted(shipped - tracked):
        print(f"in the wheel but not tracked: {name}")
    print(f"{len(shipped)} files in the wheel, {len(tracked)} tracked")
    return 0 if shipped == tracked else 1


if __name__ == "__main__":
    sys.exit(main())
