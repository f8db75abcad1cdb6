"""The app for INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class AfterqueryConfig(AppConfig):
    """Has the databases followed as soon as all apps are loaded."""

    name = "afterquery.django"
    label = "afterquery"
    verbose_name = "Replication"

    def ready(self) -> None:
        # Here and not above: they need the settings.
        from afterquery.django.configuration import configuration
        from afterquery.django.databases import follow
        from afterquery.django.process import process

        found = configuration(getattr(settings, "AFTERQUERY", None))
        process.configure(found.make, found.close_timeout)
        follow(found)
