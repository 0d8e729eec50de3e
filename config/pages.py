"""What every page of the shop and the lab shows around its content."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Say to the templates where this process can lead a visitor."""
    return {"has_shop": apps.is_installed("shop"), "has_lab": settings.LAB_ENABLED}
