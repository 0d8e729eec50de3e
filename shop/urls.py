from django.urls import path

from shop import views

app_name = "shop"

urlpatterns = [
    path("", views.catalogue, name="catalogue"),
    path("basket/", views.basket, name="basket"),
    path("basket/<uuid:basket_id>/order/", views.place, name="place"),
    path("orders/", views.orders, name="orders"),
    path("orders/<uuid:order_id>/", views.order, name="order"),
    path("orders/<uuid:order_id>/now/", views.now, name="now"),
    path("orders/<uuid:order_id>/checkout/", views.checkout, name="checkout"),
    path("orders/<uuid:order_id>/pay/", views.pay, name="pay"),
    path("orders/<uuid:order_id>/again/", views.again, name="again"),
]
