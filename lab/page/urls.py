from django.urls import path

from lab.page import views

app_name = "lab"

urlpatterns = [
    path("", views.start, name="start"),
    path("runs/", views.run, name="run"),
    path("runs/<uuid:run_id>/", views.watch, name="watch"),
    path("runs/<uuid:run_id>/now/", views.now, name="now"),
    path("source/<str:name>/", views.source, name="source"),
]
