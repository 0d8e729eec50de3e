from importlib import import_module

from django.apps import AppConfig, apps
from django.contrib import admin
from django.contrib.admin import apps as admin_apps


class ConfigConfig(AppConfig):
    """The project itself: its commands and its admin site."""

    default = True
    name = "config"
    verbose_name = "Charge once"


class ChargeOnceAdminConfig(admin_apps.AdminConfig):
    """Django's own admin, on this project's site."""

    default = False
    default_site = "config.admin.ChargeOnceSite"

    def ready(self) -> None:
        super().ready()  # every app registers its pages
        if apps.is_installed("orders"):
            import_module("config.order_story")  # an order's page needs all apps
        admin.site.unregister(apps.get_model("authtoken", "TokenProxy"))  # it shows the secrets
