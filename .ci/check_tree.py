"""Check that no tracked file names a package registry's host or a path of somebody's machine.

The project must build from any registry and in any folder. The names are put together from pieces here, so that this
file does not find itself.
"""

import re
import subprocess
import sys
from pathlib import Path

HOSTS = [
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("registry", "yarnpkg"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("proxy", "golang", "org"),
        ("static", "crates", "io"),
        ("index", "crates", "io"),
    )
]
TOP_FOLDERS = ("work", "opt")
FORBIDDEN = re.compile(
    "|".join(re.escape(host) for host in HOSTS) + rf"|(?<![\w.*~-])/(?:{'|'.join(TOP_FOLDERS)})/",
    re.IGNORECASE,
)
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+")
BINARY = {".parquet", ".png", ".ico", ".woff2", ".gz", ".zip"}


def main() -> int:
    """Print every finding as ``file:line: text`` and return 1 if there is one."""
    listing = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout
    findings = [finding for name in listing.split("\0") if name for finding in _findings(Path(name))]
    findings += _pins_with_more_than_a_version(Path("constraints.txt"))
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


def _findings(path: Path) -> list[str]:
    if path.suffix in BINARY or not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{path}:{number}: names {match.group()!r}, a registry host or a machine's path"
        for number, line in enumerate(lines, start=1)
        for match in FORBIDDEN.finditer(line)
    ]


def _pins_with_more_than_a_version(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{path}:{number}: {line!r} is not name==version"
        for number, line in enumerate(lines, start=1)
        if not line.startswith("#") and not PIN.fullmatch(line)
    ]


if __name__ == "__main__":
    sys.exit(main())
