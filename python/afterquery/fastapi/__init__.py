"""Replication at home in FastAPI, Starlette and other ASGI applications.

    app = FastAPI(lifespan=lifespan(make_replicator))
    app.add_middleware(ReplicationMiddleware)

Neither framework is imported here. See docs/integrations.md.
"""

from afterquery.fastapi.current import current_transaction, get_replicator, get_transaction
from afterquery.fastapi.lifespan import lifespan
from afterquery.fastapi.middleware import ReplicationMiddleware
from afterquery.fastapi.scope import RequestTransaction
from afterquery.fastapi.wait import POSITION_HEADER, WaitForReplicas, wait_for_replicas

__all__ = [
    "POSITION_HEADER",
    "ReplicationMiddleware",
    "RequestTransaction",
    "WaitForReplicas",
    "current_transaction",
    "get_replicator",
    "get_transaction",
    "lifespan",
    "wait_for_replicas",
]
