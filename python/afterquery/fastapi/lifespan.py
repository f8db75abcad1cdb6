"""Starting with the application, and draining at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from afterquery import _scope
from afterquery._core import Replicator
from afterquery._failures import failures
from afterquery.fastapi.asgi import STATE_KEY
from afterquery.fastapi.scope import RequestScope

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
"""What Starlette and FastAPI take as `lifespan`."""


def lifespan(
    replicator: Replicator | Callable[[], Replicator],
    inner: Lifespan | None = None,
    *,
    timeout: float = 10.0,
) -> Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """A lifespan that closes the replicator when the application ends, for `FastAPI(lifespan=...)`.

    - `replicator`: a function that makes it, called when the application starts and so in the
      worker process; or a Replicator.
    - `inner`: the application's own lifespan. It starts after the replicator and ends before it, so
      that what it writes is delivered too; its state is kept.
    - `timeout`: how many seconds the end waits for the replicas. What is not settled by then is
      lost, and logged. Keep it below what the server gives its workers to end.

    Requests see the replicator as `request.state.afterquery`; `inner` gets it from
    `await get_replicator()`. Raises what `replicator` raises.
    """

    @asynccontextmanager
    async def running(app: Any) -> AsyncIterator[Mapping[str, Any]]:
        live = replicator if isinstance(replicator, Replicator) else replicator()
        state = {STATE_KEY: live}
        before = _scope.current.get()
        _scope.current.set(_outside_of_requests(state))
        try:
            async with AsyncExitStack() as stack:
                own = await stack.enter_async_context(inner(app)) if inner else None
                yield {**(own or {}), **state}
        finally:
            _scope.current.set(before)
            # The replicator itself logs what was not confirmed in time.
            try:
                await live.aclose(timeout)
            except Exception:
                failures.caught("the replicator could not be closed")

    return running


def _outside_of_requests(state: Mapping[str, Any]) -> RequestScope:
    """What lets `inner` find the replicator as a request does."""
    return RequestScope(
        {"state": state}, lambda _: state[STATE_KEY], None, holding=False, deciding=False
    )
