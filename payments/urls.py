from django.urls import path

from payments.views import (
    AccountsView,
    AccountView,
    ChargeView,
    DeclineView,
    EntriesView,
    PaymentView,
)

urlpatterns = [
    path("payments/", ChargeView.as_view(), name="pay"),
    path("payments/decline/", DeclineView.as_view(), name="decline"),
    path("payments/<uuid:order_id>/", PaymentView.as_view(), name="payment"),
    path("accounts/", AccountsView.as_view(), name="accounts"),
    path("accounts/<int:pk>/", AccountView.as_view(), name="account"),
    path("accounts/<int:pk>/entries/", EntriesView.as_view(), name="entries"),
]
