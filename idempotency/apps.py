from importlib import import_module

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class IdempotencyConfig(AppConfig):
    name = "idempotency"
    verbose_name = _("Idempotency")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Refuse to start with a setting outside of its limits: a web server runs no checks.

        :raises ImproperlyConfigured: which one
        """
        from idempotency.conf import conf  # noqa: PLC0415 - needs the settings
        from idempotency.limits import outside  # noqa: PLC0415

        for sentence in outside(conf()):
            raise ImproperlyConfigured(sentence)
        import_module("idempotency.checks")
