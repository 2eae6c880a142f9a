"""One JSON-RPC endpoint: sends a request, and maps every foreign error to ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from requests import RequestException
from web3 import HTTPProvider
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from trading_dagster.domain.error import (
    BadConfiguration,
    BlockUnavailable,
    CallReverted,
    NodeAnswerInvalid,
    NodeError,
    NodeRefused,
    NodeUnavailable,
)
from trading_dagster.evm.abi import revert_reason

REVERT_CODE = 3
BLOCK_CODE = -32001  # "resource not found", EIP-1474
BUSY_CODES = frozenset({-32005, -32603, 429})
BUSY_WORDS = ("rate limit", "too many requests", "timed out", "timeout", "overloaded")
SIZE_WORDS = (
    "query returned more than",
    "more than 10000 results",
    "block range",
    "blocks range",
    "range is too large",
    "range too large",
    "range limit",
    "response size",
    "result set",
    "too many results",
    "too many logs",
    "query timeout exceeded",
    "limit exceeded: block",
    "exceed maximum block",
)
"""How nodes say that a request for logs asks for too much, under any error code."""
BLOCK_WORDS = (
    "header not found",
    "unknown block",
    "block not found",
    "missing trie node",
    "blockoutofrange",
    "not available",
    "not canonical",
    "state already discarded",
    "hash not found",
    "pruned",
)
TELLTALES = (
    "web3.providers.HTTPProvider",
    "web3._utils.http_session_manager.HTTPSessionManager",
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
"""Loggers of other libraries that write URLs, which may have a key in them, at level DEBUG."""


class Endpoint(Protocol):
    """Where requests go; tests and other transports give their own."""

    @property
    def name(self) -> str:
        """Return what to call it in messages: never its URL, which may have a key in it."""
        ...

    def request(self, method: str, parameters: list[Any]) -> Any:
        """Return the result of one request; raises NodeError or CallReverted."""
        ...


class HttpEndpoint:
    """A node behind HTTP. Its URL is a secret: only the host is ever shown."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        """Talk to a URL; nothing is sent yet. Raises BadConfiguration when it is none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadConfiguration(
                "A JSON-RPC endpoint is no http or https URL: give one such as http://localhost:8545"
            )
        self.name = parts.hostname + (f":{parts.port}" if parts.port else "")
        _silence()
        self._provider = HTTPProvider(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)

    @classmethod
    def from_environment(cls, variable: str, *, timeout_s: float = 10.0) -> HttpEndpoint:
        """Read the URL from an environment variable; raises BadConfiguration when it is not set."""
        url = os.environ.get(variable)
        if not url:
            raise BadConfiguration(f"The environment variable {variable} is not set: it must hold a JSON-RPC URL")
        return cls(url, timeout_s=timeout_s)

    def __repr__(self) -> str:
        """Show the host only."""
        return f"HttpEndpoint({self.name})"

    def request(self, method: str, parameters: list[Any]) -> Any:
        """Send one request, once."""
        failure: NodeError
        try:
            answer = self._provider.make_request(RPCEndpoint(method), parameters)
        except RequestException as error:
            failure = NodeUnavailable(f"{self.name} did not answer {method} ({type(error).__name__})")
        except (Web3Exception, ValueError, TypeError) as error:
            failure = NodeAnswerInvalid(f"{self.name} answered {method} with no JSON-RPC ({type(error).__name__})")
        else:
            return self._result(answer, method)
        raise failure  # outside the except clause: foreign errors have the URL in their text

    def _result(self, answer: Any, method: str) -> Any:
        if not isinstance(answer, Mapping) or ("result" not in answer and "error" not in answer):
            raise NodeAnswerInvalid(f"{self.name} answered {method} with no JSON-RPC: {str(answer)[:200]}")
        if answer.get("error") is not None:
            raise map_error(answer["error"], f"{self.name} to {method}")
        return answer["result"]


def _silence() -> None:
    for name in TELLTALES:
        logger = logging.getLogger(name)
        if _is_no_debug not in logger.filters:
            logger.addFilter(_is_no_debug)


def _is_no_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def map_error(body: Any, where: str) -> NodeError | CallReverted:
    """Return our error for the error object of a JSON-RPC answer."""
    fields = body if isinstance(body, Mapping) else {"message": str(body)}
    code = fields.get("code", 0)
    code = code if isinstance(code, int) else 0
    message = str(fields.get("message", ""))[:300]
    words = message.lower()
    if code == REVERT_CODE or "execution reverted" in words or "vm exception" in words:
        data = fields.get("data")
        data = data if isinstance(data, str) and data.startswith("0x") else "0x"
        return CallReverted(revert_reason(data) or message, data)
    if any(word in words for word in SIZE_WORDS):
        return NodeRefused(f"{where}: {message} (code {code})", code)
    if code == BLOCK_CODE or any(word in words for word in BLOCK_WORDS):
        return BlockUnavailable(f"{where}: {message}")
    if code in BUSY_CODES or any(word in words for word in BUSY_WORDS):
        return NodeUnavailable(f"{where}: {message} (code {code})")
    return NodeRefused(f"{where}: {message} (code {code})", code)
