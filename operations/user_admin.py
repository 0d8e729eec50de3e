"""Users and groups in the admin: only a superuser makes anybody more powerful."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from idempotency.pagination import LongList

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = object

admin.site.unregister([User, Group])


class OnlySuperusersGrant(ModelAdmin):
    """Shows what grants power; to whoever is no superuser as text that no form changes.

    With Django's own pages, a member of staff who may change users could tick "superuser" on their
    own row, and one who may change groups could add any permission to their own group.
    """

    granting: tuple[str, ...] = ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, *self.granting)


@admin.register(User)
class UserPage(OnlySuperusersGrant, LongList, UserAdmin):  # type: ignore[type-arg]
    """Django's own; the rows and passwords of staff are for superusers, and one's own for oneself.

    Whoever set a more powerful colleague's password could sign in as that colleague.
    """

    granting = ("is_staff", "is_superuser", "groups", "user_permissions")
    search_fields = ("username__startswith",)
    search_help_text = _("The beginning of a user name")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_within_reach(request, obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _is_within_reach(request, obj) and super().has_delete_permission(request, obj)


@admin.register(Group)
class GroupPage(OnlySuperusersGrant, GroupAdmin):
    granting = ("permissions",)


def _is_within_reach(request: HttpRequest, user: User | None) -> bool:
    is_powerful = user is not None and (user.is_superuser or user.is_staff)
    return not is_powerful or user == request.user or bool(request.user.is_superuser)
