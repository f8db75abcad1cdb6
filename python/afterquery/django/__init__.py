"""Replication at home in Django: one app and one setting.

    INSTALLED_APPS = [..., "afterquery.django"]
    AFTERQUERY = {"REPLICAS": ["https://replica.example.com"], "AUTH_TOKEN": ...}

See docs/integrations.md.
"""

from afterquery.django.asgi import drained
from afterquery.django.process import replicator

__all__ = ["drained", "replicator"]
