"""Read deployments from YAML: every mistake is one message with file, field, value and remedy, and shows no secret."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import TypeAdapter, ValidationError

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.live.deployment import Deployment

FOLDERS_VARIABLE = "TRADING_DAGSTER_DEPLOYMENTS"
DEFAULT_FOLDER = Path("deploy")
EXAMPLE_PREFIX = "example"
SUFFIXES = (".yaml", ".yml")
KINDS_OF = ("data", "clock", "trigger")
LARGEST_ADDRESS_BITS = 200
PATH_FIELDS = (
    ("strategy",),
    ("data", "path"),
    ("data", "folder"),
    ("data", "pair_file"),
    ("ledger", "file"),
    ("wallet", "keystore"),
)

_HEX_KEY = re.compile(r"(?<![0-9a-fA-F])(?:0x)?[0-9a-fA-F]{64}(?![0-9a-fA-F])")
_SEED_PHRASE = re.compile(r"\s*[a-z]{3,8}(?:\s+[a-z]{3,8}){11,23}\s*")
_SHOWN = 60
_DEPLOYMENT = TypeAdapter(Deployment)


class _OneOfEach(yaml.SafeLoader):
    """Refuses a mapping that has a key twice: YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of a node."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key_node.value if isinstance(key_node, yaml.ScalarNode) else id(key_node))
        return super().construct_mapping(node, deep)


def find_deployment_files(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the YAML files of TRADING_DAGSTER_DEPLOYMENTS (files or folders), else of ./deploy, sorted.

    In a folder, files whose name begins with ``example``, ``_`` or ``.`` are left out: they are there to be copied.

    Raises:
        BadConfiguration: A named file or folder does not exist.
    """
    named = [Path(part) for part in environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if part]
    found: list[Path] = []
    for place in named or [DEFAULT_FOLDER]:
        if place.is_dir():
            own = (path for path in place.iterdir() if path.suffix in SUFFIXES)
            found += sorted(path for path in own if not path.name.startswith((EXAMPLE_PREFIX, "_", ".")))
        elif place.is_file():
            found.append(place)
        elif named:
            raise BadConfiguration(f"{FOLDERS_VARIABLE} names {place}, which does not exist: correct it")
    return found


def read_deployments(files: Iterable[Path]) -> Iterator[Deployment | BadConfiguration]:
    """Yield the deployment of each file, or why it cannot be used; an id or money that comes twice is refused."""
    seen: dict[str, Path] = {}
    owners: dict[tuple[object, ...], Deployment] = {}
    for file in files:
        try:
            deployment = read_deployment(file)
        except BadConfiguration as error:
            yield error
            continue
        first = seen.setdefault(deployment.id, file)
        if first is not file:
            yield BadConfiguration(f"{file}: id: {deployment.id} is the id of {first} too: give it another one")
            continue
        owner = owners.setdefault(deployment.money, deployment) if deployment.money else deployment
        if owner is not deployment:
            yield BadConfiguration(
                f"{file}: wallet: {owner.id} ({owner.file}) trades with the same money, and each would take the "
                "other's for its own deposit: give it another wallet, or remove one of the two files"
            )
            continue
        yield deployment


def read_deployment(file: Path | str) -> Deployment:
    """Read a deployment; raises BadConfiguration with every mistake in the file, one a line."""
    path = Path(file).absolute()
    fields = _load(path)
    secrets = list(_find_secrets(fields))
    if secrets:
        raise BadConfiguration(
            "\n".join(
                f"{path}: {where}: the value {what}: put it into an environment variable and write the variable's name "
                "here; and since it was in a file, use another one"
                for where, what in secrets
            )
        )
    fields = {"id": path.stem.replace("-", "_").lower(), **fields}
    for place in PATH_FIELDS:
        _make_absolute(fields, place, path.parent)
    text = json.dumps({**fields, "file": str(path)}, default=_as_text)
    try:
        deployment = _DEPLOYMENT.validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise BadConfiguration("\n".join(f"{path}: {_describe(each)}" for each in found)) from None
    except BadConfiguration as error:
        raise BadConfiguration(f"{path}: limits: {error}") from None
    if not deployment.strategy.is_file():
        raise BadConfiguration(
            f"{path}: strategy: {deployment.strategy} does not exist: give a path from the folder of the YAML file"
        )
    return deployment


def _load(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _OneOfEach)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path} cannot be read ({type(error).__name__}): check the path") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or type(error).__name__
        raise BadConfiguration(f"{path}{line}: this is no YAML that can be used: {problem}") from None
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise BadConfiguration(f"{path}: it is no mapping of fields: begin with `strategy:` and `mode:`")
    if "file" in loaded:
        raise BadConfiguration(f"{path}: file: there is no such field: remove it")
    return loaded


def _find_secrets(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            name = "a key of a mapping" if _looks_secret(key) else f"{where}.{key}".lstrip(".")
            if _looks_secret(key):
                yield name, "looks like a private key"
            yield from _find_secrets(inner, name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _find_secrets(inner, f"{where}.{place}")
    elif _looks_secret(value):
        yield where, "looks like a private key"
    elif isinstance(value, str) and _SEED_PHRASE.fullmatch(value):
        yield where, "looks like the words of a wallet"
    elif isinstance(value, str) and _has_credentials(value):
        yield where, "is a URL with a password or key in it"


def _looks_secret(value: Any) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return value.bit_length() > LARGEST_ADDRESS_BITS  # YAML reads 0x... without quotes as a number
    return isinstance(value, str) and _HEX_KEY.search(value) is not None


def _has_credentials(value: str) -> bool:
    if "://" not in value:
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return True
    return bool(parts.username or parts.password or parts.query or len(parts.path) > 16)


def _make_absolute(fields: dict[str, Any], place: tuple[str, ...], folder: Path) -> None:
    *outer, name = place
    holder: Any = fields
    for key in outer:
        holder = holder.get(key)
        if not isinstance(holder, dict):
            return
    if isinstance(holder.get(name), str):
        holder[name] = os.path.normpath(folder / holder[name])


def _as_text(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)


def _describe(error: Any) -> str:
    parts = [str(part) for part in error["loc"]]
    where = ".".join(parts[:1] + parts[2:] if parts and parts[0] in KINDS_OF and len(parts) > 1 else parts)
    name, kind, message = parts[-1] if parts else "", error["type"], error["msg"].removeprefix("Value error, ")
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: there is no such field: remove it, or correct its name"
    if kind in ("missing", "missing_argument"):
        return f"{where}: it is missing: add it"
    if name.endswith("_env") or "rpc_envs" in parts:
        return f"{where}: the value is no name of an environment variable: write a name such as BASE_RPC_URL here"
    if isinstance(error.get("input"), dict):
        return f"{where}: {message}".lstrip(": ")
    hint = ": put quotes around it" if kind == "string_type" else ""
    return f"{where}: {_shown(error.get('input'))} cannot be used: {message[:1].lower()}{message[1:]}{hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    if "://" in text:
        return "the URL"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
