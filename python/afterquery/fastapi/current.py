"""What belongs to the request that is being handled.

They read a context variable and take no parameters, so that they are dependencies as they are and
no framework has to be installed.
"""

from __future__ import annotations

from afterquery import _scope
from afterquery._core import Replicator
from afterquery.fastapi.scope import RequestScope, RequestTransaction


def request_scope() -> RequestScope:
    """The scope of the current request."""
    scope = _scope.current.get()
    if not isinstance(scope, RequestScope):
        raise RuntimeError("no request is being handled: is there a ReplicationMiddleware?")
    return scope


def current_transaction() -> RequestTransaction:
    """The write that the current request tells by hand; the same one all through the request.

    Raises `RuntimeError` outside of a request, and where there is no replicator.
    """
    return request_scope().transaction()


async def get_transaction() -> RequestTransaction:
    """A dependency: `Annotated[RequestTransaction, Depends(get_transaction)]`.

    Gives what `current_transaction` gives, and raises what it raises.
    """
    return current_transaction()


async def get_replicator() -> Replicator:
    """A dependency: `Annotated[Replicator, Depends(get_replicator)]`.

    Raises `RuntimeError` outside of a request, and where there is no replicator.
    """
    return request_scope().replicator
