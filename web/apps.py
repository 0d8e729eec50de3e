from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import pre_save
from django.utils.translation import gettext_lazy as _


class WebConfig(AppConfig):
    """What every request and page shares; its tables are those of signing in."""

    name = "web"
    verbose_name = _("Signing in")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from web import api_tokens  # noqa: PLC0415 - it needs the models
        from web.checks import old_tokens, proxies_are_named  # noqa: PLC0415

        checks.register(proxies_are_named, "web", deploy=True)
        checks.register(old_tokens, checks.Tags.database)
        pre_save.connect(api_tokens.announce_new_hash, sender="auth.User")
