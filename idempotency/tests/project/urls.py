from django.contrib import admin
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.routers import SimpleRouter

from idempotency.tests.project import views
from idempotency.views import inquiry, issue_token

router = SimpleRouter()
router.register("set", views.RestViewSet, basename="set")

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("idempotency.urls")),
    path("django/keys/<path:key>/", inquiry),
    path("django/tokens/", csrf_exempt(issue_token)),
    path("accounts/<int:account_id>/debits/", views.DebitView.as_view()),
    path("status/<int:status>/", views.StatusView.as_view()),
    path("rest/", views.RestView.as_view()),
    path("function/", views.rest_function),
    path("class/<int:thing>/", views.ClassBased.as_view()),
    *(
        path(f"{view}/", getattr(views, view))
        for view in (
            "plain",
            "plain_json",
            "optional",
            "guest",
            "by_amount",
            "binary",
            "streaming",
            "file",
            "large",
            "broken",
            "unavailable",
            "slow",
            "own_header",
            "reads_file",
            "teapot",
        )
    ),
    *router.urls,
]
