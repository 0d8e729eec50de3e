from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.utils.translation import gettext_lazy as _


class OperationsConfig(AppConfig):
    """The operator's side: the admin site, audit, reconciliation, metrics and the dashboard."""

    default = True
    name = "operations"
    verbose_name = _("Operations")


class ChargeOnceAdminConfig(admin_apps.AdminConfig):
    """Django's own admin, on this project's site."""

    default = False
    default_site = "operations.site.ChargeOnceSite"
