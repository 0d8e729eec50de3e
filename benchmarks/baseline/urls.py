"""The project's URLs, and the paths that only the benchmark has."""

from django.urls import path

from benchmarks.baseline import views
from config.urls import urlpatterns as project

urlpatterns = [
    path("api/v1/naive/orders/", views.NaivePlaceView.as_view()),
    path("api/v1/naive/orders/<uuid:order_id>/pay/", views.NaivePayView.as_view()),
    path("api/v1/unprotected/orders/", views.UnprotectedPlaceView.as_view()),
    path("api/v1/unprotected/orders/<uuid:order_id>/pay/", views.UnprotectedPayView.as_view()),
    *project,
]
