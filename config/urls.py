from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from demo.sign_in import DemoSignInPage
from idempotency.drf_views import TokenView
from operations import health, metrics
from web import problems
from web.account import Account, ChangePassword, revoke_api_token
from web.api_token_views import ApiTokensView, ApiTokenView
from web.keys import KeyView
from web.schema_view import DocsView, SchemaView
from web.sign_in import SignInView

if apps.is_installed("shop"):
    from demo.network import choose as _choose_network
    from demo.try_it import try_it as _try_it

    demo_pages = [
        path("demo/try/", _try_it, name="try-it"),
        path("demo/network/", _choose_network, name="network"),
    ]
else:
    demo_pages = []

api: list[URLPattern | URLResolver] = [
    *(path("", include(f"{app}.urls")) for app in ("orders", "payments") if apps.is_installed(app)),
    path("sign-in/", SignInView.as_view(), name="sign-in"),
    path("api-tokens/", ApiTokensView.as_view(), name="api-tokens"),
    path("api-tokens/<int:id>/", ApiTokenView.as_view(), name="api-token"),
    path("tokens/", TokenView.as_view(), name="tokens"),
    path("keys/<path:key>/", KeyView.as_view(), name="key"),
]

pages: list[URLPattern | URLResolver] = [
    path("sign-in/", DemoSignInPage.as_view(), name="sign-in-page"),
    path("sign-out/", LogoutView.as_view(next_page="/"), name="sign-out"),
    path("account/", Account.as_view(), name="own-account"),
    path("account/password/", ChangePassword.as_view(), name="change-password"),
    path("account/api-tokens/<int:token_id>/revoke/", revoke_api_token, name="revoke-api-token"),
    path("language/", set_language, name="set_language"),
    *([path("lab/", include("lab.page.urls"))] if settings.LAB_ENABLED else []),
    *demo_pages,
    path("", include("shop.urls"))
    if apps.is_installed("shop")
    else path("", RedirectView.as_view(pattern_name="docs")),
]

urlpatterns = [  # tried in this order
    path("api/v1/", include(api)),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.scrape),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", DocsView.as_view(), name="docs"),
    path("problems/<slug:slug>", problems.explain),
    path("admin/", admin.site.urls),
    re_path(r"^api/", problems.unknown_route),
    *pages,
]

handler400 = "web.pages.bad_request"
handler404 = "web.pages.not_found"
handler500 = "web.pages.server_error"
