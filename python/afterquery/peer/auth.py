"""Who may do what: one token that writes, and optionally one that only reads."""

from __future__ import annotations

import enum
import hmac
import re
from collections.abc import Iterable, Mapping

from afterquery._errors import ConfigurationError

# What a header carries unchanged through every proxy, and what no file adds by accident.
_VISIBLE = re.compile(r"[!-~]+")


class Role(enum.IntEnum):
    """What the sender of a request may do; the higher one goes first where there is not enough."""

    CLIENT = 1
    ADMIN = 2


class Refusal(enum.Enum):
    """Why a request has no role; the value is the HTTP status StarbaseDB gives it."""

    MISSING = 401
    WRONG = 400


class Tokens:
    """The accepted tokens. They are not shown by `repr`.

    Raises `ConfigurationError` for a token that could not serve; its message has the name that
    `names` gives for the admin's and the client's token, and never the token.
    """

    __slots__ = ("_admin", "_client")

    def __init__(
        self,
        admin: str,
        client: str | None = None,
        names: tuple[str, str] = ("admin_token", "client_token"),
    ) -> None:
        if admin == "":
            raise ConfigurationError(f"{names[0]} is empty: anybody could write to the peer")
        if client == "":
            raise ConfigurationError(f"{names[1]} is empty: leave it out to have none")
        self._admin = _checked(names[0], admin)
        self._client = None if client is None else _checked(names[1], client)
        if self._client == self._admin:
            raise ConfigurationError(
                f"{names[1]} is the same as {names[0]}: who may read could write as well"
            )

    @classmethod
    def of(cls, admin: str | Tokens, client: str | None) -> Tokens:
        """Tokens that were checked before, or these."""
        return admin if isinstance(admin, Tokens) else cls(admin, client)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], admin: str, client: str) -> Tokens:
        """The tokens in the variables of these names; that of the client may be missing."""
        if not environment.get(admin):
            raise ConfigurationError(
                f"set {admin} to the token that writers must send;"
                " a peer without one would let anybody write"
            )
        return cls(environment[admin], environment.get(client), (admin, client))

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


def _checked(name: str, token: str) -> bytes:
    if not isinstance(token, str):
        raise ConfigurationError(f"{name} must be a str, not {type(token).__name__}")
    if _VISIBLE.fullmatch(token) is None:
        raise ConfigurationError(
            f"{name} has a character that a header cannot carry: a line break (perhaps at its end,"
            " from a file), a space, or one that is not ASCII"
        )
    return token.encode()


def _token(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    value = next((value for name, value in headers if name.lower() == b"authorization"), b"")
    # As StarbaseDB: the word is optional, and nothing else is understood.
    return value.removeprefix(b"Bearer ")
