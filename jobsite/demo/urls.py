"""The shop's addresses, below ``/shop/``."""

from django.urls import path

from jobsite.demo import gateway, views

app_name = "shop"

urlpatterns = [
    path("", views.shop, name="shop"),
    path("order", views.place_order, name="order"),
    path("orders", views.place_many, name="many"),
    path("upload", views.upload_orders, name="upload"),
    path("checks", views.check_payments, name="checks"),
    path("cancel/<int:pk>", views.cancel_order, name="cancel"),
    path("switch", views.switch_gateway, name="switch"),
    path("restock/<int:pk>", views.restock, name="restock"),
    path("gateway/charge", gateway.charge, name="gateway-charge"),
    path("gateway/void", gateway.void, name="gateway-void"),
    path("gateway/refund", gateway.refund, name="gateway-refund"),
    path("gateway/status", gateway.status, name="gateway-status"),
]
