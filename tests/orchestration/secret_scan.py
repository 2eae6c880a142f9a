"""Looks for secrets in everything a run leaves behind: any file, any cell of a database, compressed or not."""

from __future__ import annotations

import base64
import gzip
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SQLITE_MAGIC = b"SQLite format 3\x00"
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Secret:
    """A secret, and the forms in which it could be written; those of ``folded`` in any case."""

    name: str
    exact: frozenset[bytes]
    folded: frozenset[bytes]

    @classmethod
    def of_key(cls, name: str, key: str) -> Secret:
        """Return a private key: raw, in hexadecimal and decimal digits, in base64, as a list of numbers."""
        digits = key.removeprefix("0x").lower()
        raw = bytes.fromhex(digits)
        number = int(digits, 16)
        texts = [digits, "0x" + digits, digits.upper(), "0x" + digits.upper(), "0X" + digits.upper()]
        exact = [raw, raw[::-1], repr(raw)[2:-1].encode(), *encode_base64(raw)]
        exact += [separator.join(map(str, raw)).encode() for separator in (", ", ",")]
        exact += [encoded for text in texts for encoded in encode_base64(text.encode())]
        return cls(name, frozenset(exact), frozenset([digits.encode(), str(number).encode()]))

    @classmethod
    def of_text(cls, name: str, text: str) -> Secret:
        """Return a password or a part of a URL: as it is, quoted, in hexadecimal digits, in base64."""
        plain = text.encode()
        return cls(
            name,
            frozenset(encode_base64(plain)),
            frozenset([plain.lower(), quote(text, safe="").encode().lower(), plain.hex().encode()]),
        )

    def find(self, content: bytes, folded: bytes) -> bool:
        """Tell whether a content has it, given also in lower case."""
        return any(form in folded for form in self.folded) or any(form in content for form in self.exact)


def encode_base64(raw: bytes) -> Iterator[bytes]:
    """Yield what base64 makes of bytes wherever they are in a longer text, in both alphabets."""
    for before in range(3):
        padded = bytes(before) + raw
        first = -(-before * 8 // 6)
        last = len(padded) * 8 // 6
        yield base64.b64encode(padded)[first:last]
        yield base64.urlsafe_b64encode(padded)[first:last]


def scan(places: Iterable[Path], secrets: Sequence[Secret]) -> list[str]:
    """Return where which secret was found; places are files or folders."""
    found = []
    for file in list_files(places):
        for where, content in read_contents(file):
            folded = content.lower()
            found += [f"{secret.name} in {file}{where}" for secret in secrets if secret.find(content, folded)]
    return found


def list_files(places: Iterable[Path]) -> list[Path]:
    """Return all files, each once: logs of a database before it, as they may go when it is opened and closed."""
    files = {file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()}
    return sorted(files, key=lambda file: (not file.name.endswith(("-wal", "-shm", "-journal")), file))


def read_contents(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what is in a file: its name and bytes, the cells of a database, what is compressed."""
    yield "", file.name.encode() + b"\n" + file.read_bytes()
    with file.open("rb") as opened:
        head = opened.read(16)
    if head.startswith(GZIP_MAGIC):
        yield " (unpacked)", gzip.decompress(file.read_bytes())
    if head == SQLITE_MAGIC:
        yield from read_cells(file)


def read_cells(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every cell of a SQLite database, unpacked where it is compressed."""
    with sqlite3.connect(file) as connection:
        connection.text_factory = bytes
        tables = [row[0].decode() for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    content = cell if isinstance(cell, bytes) else str(cell).encode()
                    yield f" table {table}", content
                    try:
                        yield f" table {table} (unpacked)", zlib.decompress(content)
                    except zlib.error:
                        continue
    connection.close()
