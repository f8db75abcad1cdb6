"""Which engines are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, sessionmaker

from afterquery._errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

Target: TypeAlias = (
    "Engine | AsyncEngine | sessionmaker[Session] | async_sessionmaker[AsyncSession]"
)


def engines_of(target: Any) -> list[Engine]:
    """The engines behind it, each once; those made by `execution_options` share one pool."""
    # The async classes are known by what they have: importing them needs greenlet.
    if isinstance(getattr(target, "kw", None), dict):
        return _bound(target.kw)
    target = getattr(target, "sync_engine", target)
    if isinstance(target, Connection):
        target = target.engine
    if not isinstance(target, Engine):
        raise TypeError(f"attach() takes an engine or a sessionmaker, not {type(target).__name__}")
    return [_checked(_root(target))]


def _bound(settings: dict[str, Any]) -> list[Engine]:
    """The engines that a sessionmaker was given."""
    binds = [settings.get("bind"), *(settings.get("binds") or {}).values()]
    found = [engine for bind in binds if bind is not None for engine in engines_of(bind)]
    if not found:
        raise ConfigurationError("the sessionmaker has no engine yet: bind it first")
    return list(dict.fromkeys(found))


def _root(engine: Engine) -> Engine:
    while (parent := getattr(engine, "_proxied", None)) is not None:
        engine = parent
    return engine


def _checked(engine: Engine) -> Engine:
    if engine.dialect.name != "sqlite":
        raise ConfigurationError(f"replicas speak SQLite, and {engine!r} does not")
    if not hasattr(engine.dialect.execution_ctx_cls, "fetchall_for_returning"):
        raise ConfigurationError("afterquery.sqlalchemy needs SQLAlchemy 2.0.14 or newer")
    return engine
