from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """The project itself: its commands and its admin site."""

    name = "config"
    verbose_name = "Charge once"
