"""What every page of the shop and the lab shows around its content, and the pages of errors."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Say to the templates where this process can lead a visitor."""
    return {"has_shop": apps.is_installed("shop"), "has_lab": settings.LAB_ENABLED}


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer an address that leads nowhere; Django's handler404."""
    return _trouble(request, 404)


def too_old(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that was loaded before its user signed in or out; CSRF_FAILURE_VIEW."""
    return _trouble(request, 403)


def broken(request: HttpRequest) -> HttpResponse:
    """Answer a bug, or a database that is down, without asking the database; handler500."""
    request.user = AnonymousUser()
    return _trouble(request, 500)


def _trouble(request: HttpRequest, status: int) -> HttpResponse:
    return render(request, "trouble.html", {"status": status}, status=status)
