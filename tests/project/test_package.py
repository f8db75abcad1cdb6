"""The public names and the exceptions."""

from __future__ import annotations

import pickle
import re
from importlib.metadata import version

import pytest

import afterquery
from afterquery import AfterqueryError, NotSettledError, Replica, Replicator, _core
from support.docs import ROOT

# For afterquery.peer, and for what Python itself shows.
PRIVATE = {"close_all", "escaped", "quoted", "split_statements", "without_values"}


def test_public_names_are_sorted_and_there() -> None:
    assert afterquery.__all__ == sorted(afterquery.__all__)
    assert all(hasattr(afterquery, name) for name in afterquery.__all__)


def test_everything_of_the_core_is_public() -> None:
    names = {name for name in vars(_core) if not name.startswith("_")}
    assert names - PRIVATE <= set(afterquery.__all__)


CLASSES = [name for name in afterquery.__all__ if isinstance(getattr(afterquery, name), type)]


@pytest.mark.parametrize("name", CLASSES)
def test_classes_say_where_a_user_finds_them(name: str) -> None:
    assert getattr(afterquery, name).__module__ in {"afterquery", "afterquery._errors"}


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_attribute_says_what_it_is(name: str) -> None:
    public = {of: what for of, what in vars(getattr(afterquery, name)).items() if of[0] != "_"}
    assert [of for of, what in public.items() if not what.__doc__] == []


def test_one_version() -> None:
    cargo = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert cargo
    assert cargo[1] == afterquery.__version__ == version("afterquery")


@pytest.mark.parametrize(
    ("replicas", "settings"),
    [
        ([], {}),
        (["ftp://replica.example.com"], {}),
        (["http://a.example.com", "http://a.example.com"], {}),
        (["http://a.example.com"], {"request_timeout": 0}),
    ],
)
def test_what_cannot_work_is_a_configuration_error(
    replicas: list[str | Replica], settings: dict[str, float]
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - that it is a ValueError is the point
        Replicator(replicas, **settings)  # type: ignore[arg-type]
    assert isinstance(caught.value, afterquery.ConfigurationError)
    assert isinstance(caught.value, AfterqueryError)
    assert str([*replicas, *settings][-1:]).strip("[]'") in str(caught.value)


def test_not_settled_is_a_timeout_and_survives_pickling() -> None:
    error = NotSettledError("eu is open", [], [("eu", "connection: refused")])
    assert isinstance(error, TimeoutError)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == "eu is open"
    assert copy.outcomes == ()
    assert copy.unsettled == (("eu", "connection: refused"),)
