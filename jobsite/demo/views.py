"""The shop's page and what its buttons do.

Nobody logs in here: the shop is for trying things out, on loopback, and is installed only with ``JOBSITE_DEMO``.
Everything that changes something is a POST with a CSRF token, so that no other site can press the buttons.
"""

from __future__ import annotations

from itertools import cycle, islice

from django.contrib import messages
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from handlers import job_scheduler
from handlers.models import SagaKey
from jobsite.demo.forms import CsvForm, GatewayForm, OrderForm
from jobsite.demo.jobs import CancelUnwantedOrder, CheckPayment
from jobsite.demo.models import GatewaySwitch, Order, Product
from jobsite.demo.orders import OrderLine, place_orders

LATEST_ORDERS = 40
MANY_ORDERS = 20
CHECKS = 300
RESTOCK = 20
MAX_STOCK = 1_000_000
SAGA = "shop.OrderSaga"


@never_cache
@require_safe
def shop(request: HttpRequest) -> HttpResponse:
    """The page. ``?watch`` makes it reload by itself."""
    return _page(request)


@require_POST
def place_order(request: HttpRequest) -> HttpResponse:
    """Place one order."""
    form = OrderForm(request.POST, label_suffix="")
    if not form.is_valid():
        return _page(request, order_form=form)
    (order,) = place_orders([form.line()])
    messages.success(request, f"Order {order.pk} is placed.")
    return redirect("shop:shop")


@require_POST
def place_many(request: HttpRequest) -> HttpResponse:
    """Place 20 orders of one piece each, over all products that can serve them."""
    products = list(Product.objects.filter(stock__gte=MANY_ORDERS) or Product.objects.all())
    lines = [
        OrderLine(product, 1, f"customer{number}@example.com")
        for number, product in enumerate(islice(cycle(products), MANY_ORDERS), start=1)
    ]
    _say_placed(request, len(place_orders(lines)))
    return redirect("shop:shop")


@require_POST
def upload_orders(request: HttpRequest) -> HttpResponse:
    """Place the orders of a CSV file, all of them or none."""
    form = CsvForm(request.POST, request.FILES, label_suffix="")
    if not form.is_valid():
        return _page(request, csv_form=form)
    _say_placed(request, len(place_orders(form.lines)))
    return redirect("shop:shop")


@require_POST
def check_payments(request: HttpRequest) -> HttpResponse:
    """Enqueue 300 jobs at once, each of which asks the gateway about the payment of one of the latest orders."""
    if orders := list(Order.objects.values_list("pk", flat=True)[:CHECKS]):
        job_scheduler.enqueue_many([CheckPayment(order) for order in islice(cycle(orders), CHECKS)])
        messages.success(request, f"{CHECKS} checks are enqueued: see them wait for the gateway in the console.")
    else:
        messages.error(request, "There is no payment to check: place an order first.")
    return redirect("shop:shop")


@require_POST
def cancel_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Have an order cancelled, once, however often this is asked for."""
    order = get_object_or_404(Order, pk=pk)
    if not order.is_cancellable:
        messages.error(request, f"Order {pk} is {order.get_status_display().lower()}: it cannot be cancelled.")
        return redirect("shop:shop")
    job_id = job_scheduler.enqueue(CancelUnwantedOrder(pk))
    words = "Order {} is being cancelled by {}." if job_id.is_new else "Order {} is being cancelled already, by {}."
    url = reverse("admin:jobsite_jobs_jobrecord_change", args=[job_id])
    messages.success(request, format_html(words, pk, format_html('<a href="{}">job {}</a>', url, job_id)))
    return redirect("shop:shop")


@require_POST
def switch_gateway(request: HttpRequest) -> HttpResponse:
    """Make the payment gateway ok, slow, flaky or down."""
    form = GatewayForm(request.POST)
    if not form.is_valid():
        messages.error(request, "The payment gateway has no such mode.")
        return redirect("shop:shop")
    mode = GatewaySwitch.Mode(form.cleaned_data["mode"])
    GatewaySwitch.objects.update_or_create(pk=1, defaults={"mode": mode})
    messages.success(request, f"The payment gateway is now: {mode.label}.")
    return redirect("shop:shop")


@require_POST
def restock(request: HttpRequest, pk: int) -> HttpResponse:
    """Put 20 more of a product in stock."""
    product = get_object_or_404(Product, pk=pk)
    if Product.objects.filter(pk=pk, stock__lte=MAX_STOCK).update(stock=F("stock") + RESTOCK):
        messages.success(request, f"{RESTOCK} more of {product.sku} are in stock.")
    return redirect("shop:shop")


def _with_sagas(orders: QuerySet[Order]) -> list[tuple[Order, int | None]]:
    """The latest orders, each with the saga that it runs as, once that has begun."""
    latest = list(orders[:LATEST_ORDERS])
    of_type = SagaKey.objects.filter(saga_type=SAGA, name="order_id")
    sagas = dict(of_type.filter(value__in=[str(order.pk) for order in latest]).values_list("value", "saga_id"))
    return [(order, sagas.get(str(order.pk))) for order in latest]


def _page(
    request: HttpRequest, *, order_form: OrderForm | None = None, csv_form: CsvForm | None = None
) -> HttpResponse:
    is_refused = order_form is not None or csv_form is not None
    context = {
        "order_form": order_form or OrderForm(label_suffix=""),
        "csv_form": csv_form or CsvForm(label_suffix=""),
        "products": Product.objects.all(),
        "orders": _with_sagas(Order.objects.select_related("product")),
        "switch": GatewaySwitch.current(),
        "modes": GatewaySwitch.Mode,
        "restock": RESTOCK,
        "checks": CHECKS,
        "watching": "watch" in request.GET and not is_refused,
    }
    return render(request, "demo/shop.html", context, status=400 if is_refused else 200)


def _say_placed(request: HttpRequest, count: int) -> None:
    if count:
        messages.success(request, f"{count:,} order{'s are' if count > 1 else ' is'} placed.")
    else:
        messages.error(request, "No order was placed: there are no products.")
