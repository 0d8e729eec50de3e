from django.urls import path

from orders.views import OrdersView, OrderView, PayOrderView, ProductsView

urlpatterns = [
    path("products/", ProductsView.as_view(), name="products"),
    path("orders/", OrdersView.as_view(), name="orders"),
    path("orders/<uuid:order_id>/", OrderView.as_view(), name="order"),
    path("orders/<uuid:order_id>/pay/", PayOrderView.as_view(), name="pay-order"),
]
