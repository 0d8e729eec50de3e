"""API tokens in the admin: to find and to revoke, never to read or to make."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from web.models import ApiToken
from web.read_only_admin import ModelAdmin, ReadOnlyAdmin, link_to, moment_of


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Whoever may delete a token revokes it by that: Django's own action, confirmed and logged."""

    created = moment_of("created_at", _("created at"))
    expires = moment_of("expires_at", _("expires at"))
    last_used = moment_of("last_used_at", _("last used"))
    list_display = ("__str__", "owner", "created", "expires", "last_used")
    list_select_related = ("user",)
    search_fields = ("user__username__exact",)
    search_help_text = _("User name")
    ordering = ("-id",)
    actions = ()  # no export: not even a digest leaves the database
    fields: ClassVar[Any] = (("__str__", "owner"), ("created", "expires", "last_used"))

    @admin.display(description=_("user"), ordering="user__username")
    def owner(self, token: ApiToken) -> str:
        return link_to(token.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return ModelAdmin.has_delete_permission(self, request, obj)
