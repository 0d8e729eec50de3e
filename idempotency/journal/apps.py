from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class JournalConfig(AppConfig):
    name = "idempotency.journal"
    label = "idempotency_journal"
    verbose_name = _("Journal of duplicates")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import_module("idempotency.journal.receivers")
