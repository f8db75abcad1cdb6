"""Tokens: what is refused at the start, and that they are shown nowhere."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from afterquery import cli
from afterquery._errors import ConfigurationError
from afterquery.peer import Peer, serve
from afterquery.peer.auth import Tokens

CANNOT = "has a character that a header cannot carry"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"admin_token": ""}, "admin_token is empty: anybody could write"),
        ({"client_token": ""}, "client_token is empty"),
        ({"client_token": "a-good-one"}, "client_token is the same as admin_token"),
        ({"admin_token": "secret\n"}, f"admin_token {CANNOT}"),
        ({"client_token": "secret\r\n"}, f"client_token {CANNOT}"),
        ({"admin_token": " secret"}, f"admin_token {CANNOT}"),
        ({"admin_token": "sécret"}, f"admin_token {CANNOT}"),
        ({"admin_token": "secret\udc80"}, f"admin_token {CANNOT}"),
        ({"admin_token": "secret\0"}, f"admin_token {CANNOT}"),
        ({"admin_token": b"secret"}, "admin_token must be a str, not bytes"),
    ],
)
def test_tokens_that_cannot_serve(tmp_path: Path, tokens: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        Peer(tmp_path / "copy.db", **{"admin_token": "a-good-one"} | tokens)
    assert "secret" not in str(raised.value)
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"AFTERQUERY_TOKEN": ""}, "set AFTERQUERY_TOKEN to the token"),
        ({"AFTERQUERY_TOKEN": "secret\n"}, f"AFTERQUERY_TOKEN {CANNOT}"),
        ({"AFTERQUERY_READ_TOKEN": ""}, "AFTERQUERY_READ_TOKEN is empty: leave it out"),
        (
            {"AFTERQUERY_READ_TOKEN": "good"},
            "AFTERQUERY_READ_TOKEN is the same as AFTERQU",
        ),
    ],
)
def test_the_command_names_the_variable(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    message: str,
) -> None:
    for name, value in ({"AFTERQUERY_TOKEN": "good"} | environment).items():
        monkeypatch.setenv(name, value)
    assert cli.main(["peer", "--db", str(tmp_path / "copy.db"), "--port", "0"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "secret" not in error


def test_no_frame_has_a_token_in_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("something")

    monkeypatch.setattr(serve, "_listening", fail)
    monkeypatch.setenv("AFTERQUERY_TOKEN", "very-secret")
    monkeypatch.setenv("AFTERQUERY_READ_TOKEN", "also-secret")
    with pytest.raises(RuntimeError) as raised:
        cli.main(["peer", "--db", str(tmp_path / "copy.db"), "--port", "0"])
    shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    assert "secret" not in "".join(shown.format()).replace(str(tmp_path), "")


def test_a_peer_that_cannot_be_made_shows_no_token(tmp_path: Path) -> None:
    def made(token: str) -> None:
        try:
            Peer(tmp_path, admin_token=token)
        except ConfigurationError as error:
            frames = traceback.TracebackException.from_exception(error, capture_locals=True)
            ours = [line for line in frames.format() if "afterquery/peer" in line]
            assert ours
            assert "very-secret" not in "".join(ours)

    made("very-secret")


def test_tokens_are_shown_by_no_repr() -> None:
    tokens = Tokens("very-secret", "also-secret")
    assert "secret" not in repr(tokens) + str(tokens)
