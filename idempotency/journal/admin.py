"""The journal in the admin: to read, never to change."""

from typing import Any, ClassVar

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from idempotency.admin import ReadOnlyAdmin
from idempotency.journal.models import JournaledRequest


@admin.register(JournaledRequest)
class JournaledRequestAdmin(ReadOnlyAdmin):
    list_display = ("received_at", "outcome", "scope", "subject", "key_digest", "request_id")
    list_filter = ("outcome", "received_at")
    search_fields = ("key_digest__exact", "subject__exact", "request_id__exact")
    search_help_text = _("The whole key digest, subject or request id")
    ordering = ("-received_at",)
    fields: ClassVar[Any] = (
        ("received_at", "outcome"),
        ("scope", "subject"),
        ("key_digest", "request_id"),
        ("milliseconds", "waited_milliseconds"),
        "steps",
    )
