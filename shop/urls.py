from django.urls import path

from shop.views import baskets, checkout, orders

app_name = "shop"

urlpatterns = [
    path("", baskets.catalogue, name="catalogue"),
    path("basket/", baskets.basket, name="basket"),
    path("basket/<uuid:basket_id>/order/", baskets.place, name="place"),
    path("orders/", orders.orders, name="orders"),
    path("orders/<uuid:order_id>/", orders.order, name="order"),
    path("orders/<uuid:order_id>/now/", orders.now, name="now"),
    path("orders/<uuid:order_id>/checkout/", checkout.checkout, name="checkout"),
    path("orders/<uuid:order_id>/pay/", checkout.pay, name="pay"),
    path("orders/<uuid:order_id>/again/", baskets.reorder, name="reorder"),
]
