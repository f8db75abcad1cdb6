"""Who may do what: one token that writes, and optionally one that only reads."""

from __future__ import annotations

import enum
import hmac
from collections.abc import Iterable

from afterquery._errors import ConfigurationError


class Role(enum.Enum):
    """What the sender of a request may do."""

    ADMIN = "admin"
    CLIENT = "client"


class Refusal(enum.Enum):
    """Why a request has no role; the value is the HTTP status StarbaseDB gives it."""

    MISSING = 401
    WRONG = 400


class Tokens:
    """The accepted tokens. They are not shown by `repr`."""

    __slots__ = ("_admin", "_client")

    def __init__(self, admin: str, client: str | None = None) -> None:
        if not admin:
            raise ConfigurationError("admin_token is empty: anybody could write to the peer")
        if client == "":
            raise ConfigurationError("client_token is empty: leave it out to have none")
        self._admin = admin.encode()
        self._client = None if client is None else client.encode()

    def role(self, headers: Iterable[tuple[bytes, bytes]]) -> Role | Refusal:
        """Judge the `Authorization` header, in constant time for a given length."""
        token = _token(headers)
        if not token:
            return Refusal.MISSING
        # Both are always compared, so that the time does not tell which one was close.
        is_admin = hmac.compare_digest(token, self._admin)
        is_client = hmac.compare_digest(
            token, self._admin if self._client is None else self._client
        )
        if is_admin:
            return Role.ADMIN
        return Role.CLIENT if is_client else Refusal.WRONG


def _token(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    value = next((value for name, value in headers if name.lower() == b"authorization"), b"")
    # As StarbaseDB: the word is optional, and nothing else is understood.
    return value.removeprefix(b"Bearer ")
