from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

app_name = "shop"


def stub(request: HttpRequest) -> HttpResponse:
    return render(request, "base.html")


urlpatterns = [
    path("", stub, name="catalogue"),
    path("basket/", stub, name="basket"),
    path("orders/", stub, name="orders"),
]
