from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

app_name = "lab"


def start(request: HttpRequest) -> HttpResponse:
    return render(request, "base.html")


urlpatterns = [path("", start, name="start")]
