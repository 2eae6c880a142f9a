"""Check the licences of everything installed in this environment against what an Apache-2.0 product may use.

GPL and AGPL fail, for tools as for the product; so does a package that states no licence and is not in ``KNOWN``.
LGPL and MPL are allowed and listed. What a licence is, a package's own metadata says: the expression if there is one,
else the classifiers, else the first line of the free text.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

PRODUCT = canonicalize_name("trading-dagster")
TOOL_EXTRAS = {"dev", "benchmarks"}
KNOWN = {"ta-lib": "BSD-2-Clause"}  # read from the licence file in the package, whose metadata name none
COPYLEFT = re.compile(r"\b(?:AGPL|GPL|Affero|GNU General Public)", re.IGNORECASE)
WEAK_COPYLEFT = re.compile(r"\b(?:LGPL|Lesser General Public|MPL|Mozilla)", re.IGNORECASE)


def main() -> int:
    """Print the packages under weak copyleft and every refusal; return 1 if there is a refusal."""
    installed = {canonicalize_name(distribution.name): distribution for distribution in distributions()}
    extras = {*(installed[PRODUCT].metadata.get_all("Provides-Extra") or []), ""} - TOOL_EXTRAS
    product = set(_closure([(PRODUCT, extra) for extra in extras], installed))
    refused = 0
    for name, distribution in sorted(installed.items()):
        licence = _licence(distribution) or KNOWN.get(name, "")
        part = "product" if name in product else "development"
        if not licence or _is_copyleft(licence):
            refused += 1
            print(f"REFUSED  {part:11} {name}: {licence or 'states no licence'}")
        elif WEAK_COPYLEFT.search(licence):
            print(f"listed   {part:11} {name}: {licence}")
    print(f"{len(installed)} packages, {len(product)} of them in the product, {refused} refused")
    return 1 if refused else 0


def _licence(distribution: Distribution) -> str:
    def values(field: str) -> list[str]:
        return [str(value).strip() for value in distribution.metadata.get_all(field) or []]

    classifiers = [line.rsplit(" :: ", 1)[-1] for line in values("Classifier") if line.startswith("License ::")]
    first_lines = [line for text in values("License") for line in text.splitlines()[:1]]
    return " OR ".join(values("License-Expression") or classifiers or first_lines)


def _is_copyleft(licence: str) -> bool:
    return all(COPYLEFT.search(choice) for choice in re.split(r"\s+OR\s+", licence))


def _closure(
    waiting: list[tuple[NormalizedName, str]], installed: dict[NormalizedName, Distribution]
) -> Iterator[NormalizedName]:
    """Yield what waits, pairs of a package and one of its extras or "", and all that it needs at run time."""
    seen: set[tuple[NormalizedName, str]] = set()
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name not in installed:
            continue
        seen.add((name, extra))
        yield name
        for line in installed[name].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                waiting += [(needed, asked) for asked in ("", *requirement.extras)]


if __name__ == "__main__":
    sys.exit(main())
