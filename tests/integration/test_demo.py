"""The demo shop, through its pages, its jobs and its payment gateway."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import pytest
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.http import HttpResponse, HttpResponseServerError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from handlers import CancellationToken, Command, GiveUp, Job, admission, current_run, execution, job_scheduler
from handlers.admission.places import place_of
from handlers.current import CurrentJob, current
from handlers.models import EventRecord, JobRecord, RecurringJob, SagaRecord, Workflow
from handlers.recurrence import declared
from handlers.registry import registry
from handlers.transport import Message
from jobsite.demo import gateway
from jobsite.demo.commands import ChargeCard, ReserveStock, ShipOrder, UndoOrder
from jobsite.demo.jobs import (
    CancelUnwantedOrder,
    CheckPayment,
    PackParcel,
    SendReceipt,
    SendSalesReport,
    WatchStock,
)
from jobsite.demo.models import Card, Charge, GatewaySwitch, Order, Product
from jobsite.demo.orders import OrderLine, place_orders
from jobsite.demo.payments import PaymentGatewayError
from tests import running
from tests.processes import Managed

pytestmark = pytest.mark.django_db(transaction=True)
Mode = GatewaySwitch.Mode
SHIPPING = ["shop.PackParcel", "shop.SendReceipt", "shop.CloseOrder"]  # an order's workflow
STEPS = ["shop.ReserveStock", "shop.ChargeCard", "shop.ShipOrder", *SHIPPING]  # what is done for an order


@pytest.fixture
def product() -> Product:
    Product.objects.all().delete()  # the first test finds what the migration seeded
    return Product.objects.create(sku="CUP", name="Espresso cup", price_cents=1250, stock=10)


@pytest.fixture
def switch() -> Callable[[Mode], None]:
    def turn(mode: Mode) -> None:
        GatewaySwitch.objects.update_or_create(pk=1, defaults={"mode": mode, "calls": 0})

    turn(Mode.OK)
    return turn


@pytest.fixture
def shop_server(live_server: LiveServer, switch: Callable[[Mode], None], monkeypatch: pytest.MonkeyPatch) -> LiveServer:
    monkeypatch.setenv("SHOP_GATEWAY_URL", f"{live_server.url}/shop/gateway")
    return live_server


def run(payload: Job | Command) -> Any:
    """What a worker does with one job, here and now; what the handler returns."""
    token = CancellationToken(job_id=1, attempt=1)
    mark = current.set(CurrentJob(token.job_id, token.attempt, token=token))
    try:
        return registry.for_object(payload).run(payload, token, current_run)
    finally:
        current.reset(mark)


def work() -> None:
    """What workers do with all jobs that are enqueued, and with what follows; the second attempt comes at once."""
    while ids := list(JobRecord.objects.filter(state="enqueued").order_by("pk").values_list("pk", flat=True)):
        claims = admission.claim(list(map(running.message, ids)), worker=running.WORKER, lease=running.LEASE)
        assert claims, f"nobody can have jobs {ids}"
        moves = [running.perform(claim) for claim in claims]
        execution.settle([move for move in moves if move], worker=running.WORKER)
        for job_id in JobRecord.objects.filter(state="scheduled", pk__in=ids).values_list("pk", flat=True):
            running.make_due(job_id)


def place(product: Product, quantity: int = 1, card: str = Card.GOOD) -> Order:
    (order,) = place_orders([OrderLine(product, quantity, "ada@example.com", card)])
    return order


def reserved(product: Product, quantity: int = 1, card: str = Card.GOOD) -> Order:
    order = place(product, quantity, card)
    run(ReserveStock(order.pk))
    order.refresh_from_db()
    assert order.status == Order.Status.RESERVED
    return order


def jobs_of(order: Order) -> list[tuple[str, str, str]]:
    """Type, queue and state of the order's jobs, in the order they were made."""
    records = JobRecord.objects.filter(arguments__data__order_id=order.pk).order_by("id")
    return list(records.values_list("job_type", "queue", "state"))


def states_of(order: Order) -> dict[str, str]:
    """The states of the jobs that do something for it, by type."""
    return {job_type: state for job_type, _, state in jobs_of(order) if job_type in STEPS}


def workflow_of(order: Order) -> Workflow:
    return Workflow.objects.get(pk=order.workflow_id)


def deadlines() -> list[str]:
    """The states of the timeouts by which orders are to be paid."""
    rows = JobRecord.objects.filter(job_type="shop.OrderSaga", arguments__data__timeout="unpaid").order_by("pk")
    return list(rows.values_list("state", flat=True))


def receipts() -> list[int]:
    """The orders whose receipts were sent."""
    return [int(message.subject.removeprefix("Your receipt for order ")) for message in mail.outbox]


def answer_is_lost(order: Order, switch: Callable[[Mode], None]) -> None:
    """The gateway has charged the order's card, and its answers never reach the shop: its charge fails for good."""
    switch(Mode.DOWN)
    work()
    switch(Mode.OK)
    assert states_of(order)["shop.ChargeCard"] == "failed"
    order.refresh_from_db()
    assert "answered 503" in order.problem
    Charge.objects.create(key=order.charge_key, status=Charge.Status.CHARGED, amount_cents=order.total_cents)


def upload(client: Client, content: bytes) -> HttpResponse:
    file = SimpleUploadedFile("orders.csv", content, "text/csv")
    return client.post("/shop/upload", {"file": file})  # type: ignore[return-value]


def charge(client: Client, body: Any = None, action: str = "charge") -> tuple[int, dict[str, Any]]:
    body = body if body is not None else {"key": "order-1", "amount_cents": 500, "card": "tok_good"}
    response = client.post(f"/shop/gateway/{action}", body, content_type="application/json")
    return response.status_code, response.json()


# --- placing orders ---


def test_the_gateway_is_asked_to_charge_eight_cards_at_once_and_no_more(product: Product) -> None:
    orders = [Order.objects.create(product=product, quantity=1, total_cents=1250, card="ok") for _ in range(10)]
    jobs = job_scheduler.enqueue_many([ChargeCard(order.pk) for order in orders])
    messages = [Message(row.pk, row.token, row.queue) for row in JobRecord.objects.order_by("pk")]
    claims = admission.claim(messages, worker="w", lease=timedelta(seconds=15))
    assert [claim.job_id for claim in claims] == jobs[:8]
    place = place_of(jobs[9], messages[9].token)
    assert place
    assert (place.limit, str(place.number)) == ("payment-gateway", "2")


def test_order_saves_row_and_jobs_when_placed_on_page(client: Client, product: Product) -> None:
    data = {"product": product.pk, "quantity": 2, "email": "ada@example.com", "card": Card.GOOD}
    response = client.post("/shop/order", data, follow=True)
    order = Order.objects.get()
    assert (order.quantity, order.total_cents, order.status) == (2, 2500, Order.Status.PLACED)
    event, delivery = EventRecord.objects.get(), JobRecord.objects.get()
    assert (event.event_type, event.data) == ("shop.OrderPlaced", {"order_id": order.pk, "total_cents": 2500})
    assert (delivery.job_type, delivery.queue, delivery.state) == ("shop.OrderSaga", "default", "enqueued")
    assert f"Order {order.pk} is placed." in response.content.decode()


def test_order_leaves_nothing_when_transaction_rolls_back(product: Product) -> None:
    def place_and_fail() -> None:
        with transaction.atomic():
            place(product)
            assert JobRecord.objects.count() == 1
            raise InterruptedError

    with pytest.raises(InterruptedError):
        place_and_fail()
    assert not Order.objects.exists()
    assert not JobRecord.objects.exists()
    assert not EventRecord.objects.exists()


def test_twenty_orders_are_placed_by_button(client: Client, product: Product) -> None:
    response = client.post("/shop/orders", follow=True)
    assert "20 orders are placed." in response.content.decode()
    assert Order.objects.count() == 20
    assert JobRecord.objects.filter(job_type="shop.OrderSaga").count() == 20


def test_three_hundred_checks_of_the_latest_payments_are_enqueued_by_button(client: Client, product: Product) -> None:
    assert "place an order first" in client.post("/shop/checks", follow=True).content.decode()
    assert not JobRecord.objects.exists()
    orders = [place(product).pk, place(product).pk]
    assert "300 checks are enqueued" in client.post("/shop/checks", follow=True).content.decode()
    checks = JobRecord.objects.filter(job_type="shop.CheckPayment", queue="payments", state="enqueued")
    asked = Counter(checks.values_list("arguments__data__order_id", flat=True))
    assert asked == dict.fromkeys(orders, 150)


def test_twenty_orders_are_refused_without_products(client: Client) -> None:
    Product.objects.all().delete()
    assert "there are no products" in client.post("/shop/orders", follow=True).content.decode()


@pytest.mark.parametrize("bad", [{"quantity": "0"}, {"quantity": "100"}, {"email": "ada"}, {"product": "999999"}])
def test_order_is_refused_when_a_field_is_wrong(client: Client, product: Product, bad: dict[str, str]) -> None:
    data = {"product": product.pk, "quantity": 2, "email": "ada@example.com", "card": Card.GOOD} | bad
    response = client.post("/shop/order", data)
    assert response.status_code == 400
    assert "errorlist" in response.content.decode()
    assert not Order.objects.exists()


@pytest.mark.parametrize("address", ["order", "orders", "checks", "upload", "switch", "restock/1", "cancel/1"])
def test_page_refuses_post_without_csrf_token(address: str, product: Product) -> None:
    assert Client(enforce_csrf_checks=True).post(f"/shop/{address}", {"mode": "down"}).status_code == 403
    assert Client().get(f"/shop/{address}").status_code == 405


def test_page_works_without_script_and_escapes_orders(client: Client, product: Product) -> None:
    Order.objects.create(product=product, quantity=1, total_cents=1, email="<b>@example.com", problem="<script>")
    html = client.get("/shop/?watch").content.decode()
    assert "&lt;b&gt;@example.com" in html
    assert not any(inline in html for inline in ("<script", "<style", " style=", " onclick="))
    assert 'http-equiv="refresh"' in html
    assert 'href="/admin/"' in html


def test_order_leads_to_its_saga_and_its_shipping_in_the_console(
    admin_client: Client, shop_server: LiveServer, product: Product
) -> None:
    order = place(product)
    assert f'<th scope="row">{order.pk}</th>' in admin_client.get("/shop/").content.decode()  # it has not begun
    work()
    order.refresh_from_db()
    html = admin_client.get("/shop/").content.decode()
    saga, shipping = f"/admin/sagas/{SagaRecord.objects.get().pk}/", f"/admin/workflows/{order.workflow_id}/"
    assert f'<th scope="row"><a href="{saga}">{order.pk}</a></th>' in html
    assert f'parcel <a href="{shipping}">{order.parcel}</a>' in html
    assert f"order_id {order.pk}" in admin_client.get(saga).content.decode()
    assert f"Shipping of order {order.pk}" in admin_client.get(shipping).content.decode()


def cancel(client: Client, order: Order) -> str:
    """Click the order's button; the page that follows."""
    return client.post(f"/shop/cancel/{order.pk}", follow=True).content.decode()


def test_two_clicks_make_one_cancellation_and_lead_to_it(client: Client, product: Product) -> None:
    order, other = place(product), place(product)
    assert f'action="/shop/cancel/{order.pk}"' in client.get("/shop/").content.decode()
    html = cancel(client, order)
    job = JobRecord.objects.get(job_type="shop.CancelUnwantedOrder")
    link = f'<a href="/admin/jobs/jobrecord/{job.pk}/change/">job {job.pk}</a>'
    assert f"Order {order.pk} is being cancelled by {link}." in html
    assert f"Order {order.pk} is being cancelled already, by {link}." in cancel(client, order)
    assert f"Order {other.pk} is being cancelled by" in cancel(client, other)
    assert JobRecord.objects.filter(job_type="shop.CancelUnwantedOrder").count() == 2


def test_clicks_in_the_same_moment_make_one_cancellation(product: Product) -> None:
    order, together = place(product), threading.Barrier(3)

    def click() -> bool:
        try:
            together.wait()
            return "is being cancelled" in cancel(Client(), order)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as people:
        assert all(people.map(lambda _: click(), range(3)))
    assert JobRecord.objects.filter(job_type="shop.CancelUnwantedOrder").count() == 1


@pytest.mark.parametrize("status", [Order.Status.PAID, Order.Status.CANCELLED])
def test_what_is_paid_or_cancelled_is_not_cancelled(client: Client, product: Product, status: str) -> None:
    order = place(product)
    Order.objects.update(status=status)
    assert "/shop/cancel/" not in client.get("/shop/").content.decode()
    assert f"Order {order.pk} is {status}: it cannot be cancelled." in cancel(client, order)
    assert not JobRecord.objects.filter(job_type="shop.CancelUnwantedOrder").exists()
    assert client.post("/shop/cancel/4711").status_code == 404


# --- CSV ---


def test_csv_places_all_orders_when_valid(client: Client, product: Product) -> None:
    content = "\ufeffEmail,SKU,Quantity\r\nada@example.com,CUP,2\r\n\r\n grace@example.com , CUP , 1 \r\n".encode()
    response = upload(client, content)
    assert response.status_code == 302
    assert sorted(Order.objects.values_list("email", "quantity")) == [("ada@example.com", 2), ("grace@example.com", 1)]
    assert JobRecord.objects.count() == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "The file is empty. The first line must be: sku,quantity,email"),
        (b"sku;quantity;email\nCUP;1;ada@example.com\n", "line 1: the columns are"),
        (b"sku,quantity\nCUP,1\n", "line 1: the columns are"),
        (b"sku,quantity,email\n", "The file has no orders."),
        (b"sku,quantity,email\nCUP,1\n", "line 2: 2 values. Write 3"),
        (
            b"sku,quantity,email\nCUP,1,ada@example.com\nMUG,1,ada@example.com\n",
            "line 3, column sku: there is no product",
        ),
        (b"sku,quantity,email\nCUP,0,ada@example.com\n", "line 2, column quantity: &#x27;0&#x27; is no quantity."),
        (b"sku,quantity,email\nCUP,1e1,ada@example.com\n", "Use a whole number from 1 to 99."),
        ("sku,quantity,email\nCUP,\u0663,ada@example.com\n".encode(), "line 2, column quantity"),
        (b"sku,quantity,email\nCUP," + b"9" * 5000 + b",ada@example.com\n", "line 2, column quantity"),
        (b"sku,quantity,email\nCUP,1,ada\n", "line 2, column email: &#x27;ada&#x27; is no e-mail address."),
        (b'sku,quantity,email\nCUP,1,"ada@example.com\nBcc: x@example.com"\n', "line 2, column email"),
        (b'sku,quantity,email\nCUP,1,"ada@example.com\n', "line 2: unexpected end of data. Mend the quotes"),
        (b"sku,quantity,email\nCUP,1,\xff@example.com\n", "line 2: not UTF-8 text."),
        (b"sku,quantity,email\nCUP,1,a\0@example.com\n", "line 2: holds a NUL byte."),
        (b"sku,quantity,email\n" + b"CUP,1,ada@example.com\n" * 1001, "There are 1,001 orders. Split the file"),
        (b"sku,quantity,email\n" + b"x" * 1024 * 1024, "The file is larger than 1 MiB."),
    ],
    ids=[
        "empty",
        "semicolons",
        "missing_column",
        "header_only",
        "short_line",
        "unknown_sku",
        "zero",
        "exponent",
        "foreign_digit",
        "huge_number",
        "bad_email",
        "header_injection",
        "open_quote",
        "not_utf8",
        "nul",
        "too_many",
        "too_large",
    ],
)
def test_csv_names_the_mistake_and_writes_nothing(
    client: Client, product: Product, content: bytes, complaint: str
) -> None:
    response = upload(client, content)
    assert response.status_code == 400
    assert complaint in response.content.decode()
    assert not Order.objects.exists()
    assert not JobRecord.objects.exists()


def test_csv_takes_a_thousand_orders(client: Client, product: Product) -> None:
    assert upload(client, b"sku,quantity,email\n" + b"CUP,1,ada@example.com\n" * 1000).status_code == 302
    assert Order.objects.count() == 1000
    assert JobRecord.objects.filter(job_type="shop.OrderSaga").count() == 1000


def test_csv_shows_hostile_content_as_text(client: Client, product: Product) -> None:
    html = upload(client, b"sku,quantity,email\n<script>alert(1)</script>,=1+1,{{ 7 }}%s\n").content.decode()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert all(f"line 2, column {column}" in html for column in ("sku", "quantity", "email"))


def test_csv_shows_fifty_mistakes_at_most(client: Client, product: Product) -> None:
    html = upload(client, b"sku,quantity,email\n" + b"MUG,1,ada@example.com\n" * 500).content.decode()
    assert html.count("column sku") == 50


# --- the payment gateway ---


def test_gateway_charges_once_when_called_twice(client: Client, switch: Callable[[Mode], None]) -> None:
    first, second = charge(client), charge(client)
    assert first == second
    assert first[0] == 200
    assert Charge.objects.count() == 1


def test_gateway_answers_503_when_down(client: Client, switch: Callable[[Mode], None]) -> None:
    client.post("/shop/switch", {"mode": "down"})
    assert charge(client)[0] == 503
    assert not Charge.objects.exists()
    client.post("/shop/switch", {"mode": "ok"})
    assert charge(client)[0] == 200


def test_gateway_keeps_its_pretended_refusals_out_of_the_log(
    client: Client, switch: Callable[[Mode], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[int] = []
    log = logging.getLogger("django.request")

    def handle(record: logging.LogRecord) -> None:
        if log.filter(record):
            logged.append(record.__dict__["status_code"])

    monkeypatch.setattr(log, "handle", handle)
    switch(Mode.DOWN)
    charge(client)
    assert not logged
    monkeypatch.setattr(gateway, "_misbehave", HttpResponseServerError)
    client.post("/shop/gateway/charge")
    assert logged == [500]


def test_gateway_answers_every_other_call_when_flaky(client: Client, switch: Callable[[Mode], None]) -> None:
    switch(Mode.FLAKY)
    assert [charge(client)[0] for _ in range(4)] == [503, 200, 503, 200]


def test_gateway_waits_when_slow(
    client: Client, switch: Callable[[Mode], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(gateway, "sleep", waits.append)
    switch(Mode.SLOW)
    assert charge(client)[0] == 200
    assert waits == [2.0]


@pytest.mark.parametrize(
    "body",
    [
        [],
        "nonsense",
        {"key": "k"},
        {"key": "", "amount_cents": 5},
        {"key": "k" * 65, "amount_cents": 5},
        {"key": "a\0b", "amount_cents": 5},
        {"key": "k", "amount_cents": True},
        {"key": "k", "amount_cents": -1},
        {"key": "k", "amount_cents": 10**30},
        {"key": ["k"], "amount_cents": 5},
    ],
    ids=str,
)
def test_gateway_refuses_what_is_no_charge(client: Client, switch: Callable[[Mode], None], body: Any) -> None:
    assert charge(client, body)[0] == 400
    assert not Charge.objects.exists()


def test_gateway_refuses_another_amount_for_the_same_key(client: Client, switch: Callable[[Mode], None]) -> None:
    charge(client)
    assert charge(client, {"key": "order-1", "amount_cents": 501, "card": "tok_good"})[0] == 400


def test_gateway_never_charges_when_voided_first(client: Client, switch: Callable[[Mode], None]) -> None:
    assert charge(client, {"key": "order-1"}, "void")[1]["status"] == "voided"
    assert charge(client)[0] == 409
    assert charge(client, {"key": "order-2", "amount_cents": 5, "card": "x"})[0] == 200
    assert charge(client, {"key": "order-2"}, "void")[1]["status"] == "charged"


def test_gateway_says_what_became_of_a_payment_once_the_bank_has_answered(
    client: Client, switch: Callable[[Mode], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    charge(client)
    charge(client, {"key": "order-2"}, "void")
    for key, found in (("order-1", "charged"), ("order-2", "voided"), ("order-3", "unknown")):
        code, answer = charge(client, {"key": key}, "status")
        assert (code, answer["wait_seconds"]) == (202, 2.0)
        ticket = {"ticket": answer["ticket"]}
        code, answer = charge(client, ticket, "status")
        assert (code, answer["ticket"]) == (202, ticket["ticket"])
        assert 0 < answer["wait_seconds"] <= 2.0
        with monkeypatch.context() as later:
            later.setattr(gateway, "time", lambda: time.time() + 2.1)
            assert charge(client, ticket, "status") == (200, {"status": found})
    assert charge(client, {"ticket": f"{ticket['ticket']}x"}, "status")[0] == 400
    assert charge(client, {}, "status")[0] == 400
    switch(Mode.SLOW)
    assert charge(client, {"key": "order-1"}, "status")[1]["wait_seconds"] == 6.0
    switch(Mode.DOWN)
    assert charge(client, ticket, "status")[0] == 503


def test_gateway_keeps_its_mode_when_switched_to_nonsense(client: Client, switch: Callable[[Mode], None]) -> None:
    assert "no such mode" in client.post("/shop/switch", {"mode": "<x>"}, follow=True).content.decode()
    assert GatewaySwitch.objects.get().mode == Mode.OK


# --- the jobs ---


def test_reserve_takes_stock_once_when_run_twice(product: Product) -> None:
    order = place(product, 3)
    run(ReserveStock(order.pk))
    run(ReserveStock(order.pk))
    product.refresh_from_db()
    assert product.stock == 7


def test_reserve_gives_up_in_words_when_out_of_stock_and_succeeds_after_restock(
    client: Client, product: Product
) -> None:
    order = place(product, 11)
    with pytest.raises(GiveUp, match=r"needs 11 of CUP, 10 left\. Restock it at /shop/, then retry"):
        run(ReserveStock(order.pk))
    order.refresh_from_db()
    product.refresh_from_db()
    assert (order.status, product.stock) == (Order.Status.PLACED, 10)
    assert "out of stock" in order.problem
    client.post(f"/shop/restock/{product.pk}")
    run(ReserveStock(order.pk))
    order.refresh_from_db()
    product.refresh_from_db()
    assert (order.status, order.problem, product.stock) == (Order.Status.RESERVED, "", 19)


def test_stock_stays_above_zero_when_reserved_by_many_at_once(product: Product) -> None:
    orders = [place(product, 3) for _ in range(8)]

    def reserve(order: Order) -> bool:
        try:
            run(ReserveStock(order.pk))
        except GiveUp:
            return False
        finally:
            connection.close()
        return True

    # Real connections, one a thread. SQLite has one writer at a time, so there they take turns.
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(reserve, orders))
    product.refresh_from_db()
    assert sorted(outcomes) == [False] * 5 + [True] * 3
    assert product.stock == 1


def test_order_is_reserved_paid_and_packed_and_its_receipt_names_the_payment(
    shop_server: LiveServer, product: Product
) -> None:
    order = place(product, 2)
    work()
    order.refresh_from_db()
    assert states_of(order) == dict.fromkeys(STEPS, "succeeded")
    assert (order.status, order.parcel) == (Order.Status.PAID, f"P-{order.pk:06}")
    assert receipts() == [order.pk]
    assert f"\nPayment: {Charge.objects.get().pk}\n" in str(mail.outbox[0].body)
    assert workflow_of(order).finished_at
    assert deadlines() == ["deleted"]  # the payment did that
    assert SagaRecord.objects.get().completed_at


def test_failed_charge_holds_its_saga_until_it_is_retried(
    shop_server: LiveServer, product: Product, switch: Callable[[Mode], None]
) -> None:
    order = place(product)
    switch(Mode.DOWN)
    work()
    held = {"shop.ReserveStock": "succeeded", "shop.ChargeCard": "failed"}
    assert states_of(order) == held
    switch(Mode.OK)
    work()
    assert states_of(order) == held  # nothing runs again by itself
    assert job_scheduler.retry(JobRecord.objects.get(job_type="shop.ChargeCard").pk)
    work()
    assert states_of(order) == dict.fromkeys(STEPS, "succeeded")
    assert receipts() == [order.pk]


def test_failed_parcel_holds_its_saga_until_it_is_retried(
    shop_server: LiveServer, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place(product)
    with monkeypatch.context() as patch:
        patch.setattr("jobsite.demo.jobs.Status", SimpleNamespace(PAID="reserved"))  # nothing is paid, it finds
        work()
    held = dict.fromkeys(STEPS, "succeeded") | {"shop.PackParcel": "failed", "shop.CloseOrder": "awaiting"}
    assert states_of(order) == held
    order.refresh_from_db()
    assert not SagaRecord.objects.get().completed_at
    assert job_scheduler.retry_workflow(order.workflow_id)
    work()
    assert states_of(order) == dict.fromkeys(STEPS, "succeeded")
    assert SagaRecord.objects.get().completed_at


def test_order_has_one_shipping_however_often_it_is_asked_for(shop_server: LiveServer, product: Product) -> None:
    order = reserved(product)
    with pytest.raises(GiveUp, match="is reserved: nothing is shipped that is not paid"):
        run(ShipOrder(order.pk))
    order.mark_paid(7)
    run(ShipOrder(order.pk))
    run(ShipOrder(order.pk))
    assert Workflow.objects.count() == 1


def test_parcel_is_the_same_however_often_it_is_packed(product: Product) -> None:
    order = reserved(product)
    with pytest.raises(GiveUp, match="is reserved: nothing is packed that is not paid"):
        run(PackParcel(order.pk))
    order.mark_paid(7)
    assert run(PackParcel(order.pk)) == run(PackParcel(order.pk)) == f"P-{order.pk:06}"


def test_charge_pays_once_when_run_twice(shop_server: LiveServer, product: Product) -> None:
    order = reserved(product, 2)
    run(ChargeCard(order.pk))
    run(ChargeCard(order.pk))
    order.refresh_from_db()
    charge = Charge.objects.get()
    assert (order.status, order.payment_id) == (Order.Status.PAID, charge.pk)
    assert (charge.amount_cents, charge.key) == (2500, order.charge_key)


def test_charge_of_another_job_goes_by_the_key_of_the_first_one(shop_server: LiveServer, product: Product) -> None:
    order = reserved(product)
    Order.objects.update(charge_key="of-the-first")
    run(ChargeCard(order.pk))
    assert Charge.objects.get().key == "of-the-first"


def test_charge_is_not_repeated_when_worker_died_before_recording_it(shop_server: LiveServer, product: Product) -> None:
    order = reserved(product)
    key = CancellationToken(job_id=1, attempt=1).idempotency_key
    Charge.objects.create(key=key, status=Charge.Status.CHARGED, amount_cents=order.total_cents)
    run(ChargeCard(order.pk))
    order.refresh_from_db()
    assert order.status == Order.Status.PAID
    assert Charge.objects.count() == 1


def test_charge_says_how_to_mend_it_when_gateway_is_down(
    shop_server: LiveServer, product: Product, switch: Callable[[Mode], None]
) -> None:
    order = reserved(product)
    switch(Mode.DOWN)
    with pytest.raises(PaymentGatewayError, match="answered 503: switch it on at /shop/"):
        run(ChargeCard(order.pk))
    order.refresh_from_db()
    assert (order.status, order.problem) == (
        Order.Status.RESERVED,
        "payment gateway answered 503: switch it on at /shop/",
    )
    switch(Mode.OK)
    run(ChargeCard(order.pk))
    order.refresh_from_db()
    assert (order.status, order.problem) == (Order.Status.PAID, "")


def test_charge_names_the_address_when_nobody_answers(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_GATEWAY_URL", "http://127.0.0.1:9")
    order = reserved(product)
    with pytest.raises(PaymentGatewayError, match=r"cannot be reached at http://127\.0\.0\.1:9/charge"):
        run(ChargeCard(order.pk))


def test_charge_fails_soon_so_that_a_visitor_sees_it() -> None:
    retry = registry.get("shop.ChargeCard").retry
    assert retry.delays() == [timedelta(seconds=2)]


def test_check_has_a_payment_recorded_that_the_order_does_not_know_of(
    shop_server: LiveServer, product: Product, switch: Callable[[Mode], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "BANK_SECONDS", 0.05)
    orders = [place(product), place(product)]
    answer_is_lost(orders[0], switch)
    for _ in range(2):
        for order in orders * 2:
            run(CheckPayment(order.pk))
        work()
        assert [order.status for order in Order.objects.order_by("pk")] == [Order.Status.PAID, Order.Status.RESERVED]
        assert receipts() == [orders[0].pk]
    assert states_of(orders[0]) == dict.fromkeys(STEPS, "succeeded")


def test_check_says_how_to_mend_it_when_gateway_is_down(
    shop_server: LiveServer, product: Product, switch: Callable[[Mode], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = place(product)
    switch(Mode.DOWN)
    with pytest.raises(PaymentGatewayError, match="answered 503: switch it on at /shop/"):
        run(CheckPayment(order.pk))
    monkeypatch.setenv("SHOP_GATEWAY_URL", "http://127.0.0.1:9")
    with pytest.raises(PaymentGatewayError, match=r"cannot be reached at http://127\.0\.0\.1:9/status"):
        run(CheckPayment(order.pk))
    monkeypatch.setenv("SHOP_GATEWAY_URL", shop_server.url)  # something else than a gateway: it answers 404
    with pytest.raises(PaymentGatewayError, match="payment gateway answered 404"):
        run(CheckPayment(order.pk))


@pytest.mark.redis
def test_one_worker_process_asks_the_gateway_for_many_payments_at_once(
    shop_server: LiveServer,
    product: Product,
    child_env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = set()

    def seconds_left(ticket: dict[str, Any]) -> float:
        """The bank answers nobody before so many have asked: one after another they would wait for ever."""
        asked.add(ticket["key"])
        return 0.0 if len(asked) >= 30 else 0.05

    monkeypatch.setattr(gateway, "BANK_SECONDS", 0.05)
    monkeypatch.setattr(gateway, "_seconds_left", seconds_left)
    orders = place_orders([OrderLine(product, 1, "ada@example.com")] * 30)
    JobRecord.objects.all().delete()  # those of the orders
    checks = job_scheduler.enqueue_many([CheckPayment(order.pk) for order in orders])
    env = child_env | {"SHOP_GATEWAY_URL": f"{shop_server.url}/shop/gateway"}
    worker = Managed(env, tmp_path, "worker", "--burst", "--processes", "1", "--max-async", "30")
    try:
        assert worker.ended() == 0, worker.log.read_text()
    finally:
        worker.end()
    rows = JobRecord.objects.filter(pk__in=checks)
    assert set(rows.values_list("state", "attempt")) == {("succeeded", 1)}
    assert len(asked) == 30


def test_receipt_is_sent_once_when_run_twice(product: Product) -> None:
    order = reserved(product, 2)
    run(SendReceipt(order.pk))
    assert not mail.outbox  # not paid yet
    order.mark_paid(7)
    run(SendReceipt(order.pk))
    run(SendReceipt(order.pk))
    (message,) = mail.outbox
    assert message.to == ["ada@example.com"]
    assert "2 x Espresso cup\nPaid: €25.00" in message.body


def test_receipt_is_a_file_below_the_data_folder(product: Product, settings: Settings, tmp_path: Path) -> None:
    backend = "django.core.mail.backends.filebased.EmailBackend"
    if django.VERSION >= (6, 1):  # which deprecates the EMAIL_ settings
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": {"file_path": tmp_path}}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_FILE_PATH = backend, tmp_path
    order = reserved(product)
    order.mark_paid(7)
    run(SendReceipt(order.pk))
    (file,) = tmp_path.iterdir()
    assert f"receipt for order {order.pk}" in file.read_text()


def test_sales_report_tells_what_was_paid_yesterday(product: Product) -> None:
    today, yesterday = reserved(product, 2), reserved(product, 3)
    for order in (today, yesterday):
        order.mark_paid(7)
    Order.objects.filter(pk=yesterday.pk).update(created_at=timezone.now() - timedelta(days=1))
    run(SendSalesReport())
    (message,) = mail.outbox
    assert message.body == "3 x Espresso cup: €37.50"
    Order.objects.all().delete()
    run(SendSalesReport())
    assert mail.outbox[1].body == "Nothing."


def test_stock_that_runs_out_is_in_the_log(product: Product, caplog: pytest.LogCaptureFixture) -> None:
    run(WatchStock(below=10))
    assert not caplog.messages
    run(WatchStock(below=11))
    assert caplog.messages == ["Espresso cup (€12.50, 10 in stock) runs out: restock it at /shop/"]


def test_the_shop_declares_what_recurs() -> None:
    assert not declared.problems()
    declared.sync()
    found = RecurringJob.objects.filter(name__startswith="shop: ", in_code=True, next_at__isnull=False)
    assert sorted(found.values_list("name", flat=True)) == ["shop: sales report", "shop: stock"]


def test_cancellation_gives_stock_back_once_when_run_twice(shop_server: LiveServer, product: Product) -> None:
    order = reserved(product, 4)
    run(UndoOrder(order.pk, "not paid in time"))
    run(UndoOrder(order.pk, "not paid in time"))
    order.refresh_from_db()
    product.refresh_from_db()
    assert (order.status, order.problem, product.stock) == (Order.Status.CANCELLED, "not paid in time", 10)
    with pytest.raises(GiveUp, match="is cancelled: nothing to charge"):
        run(ChargeCard(order.pk))
    assert not Charge.objects.filter(status=Charge.Status.CHARGED).exists()


def test_cancellation_takes_an_order_that_was_never_reserved(shop_server: LiveServer, product: Product) -> None:
    order = place(product, 4)
    run(UndoOrder(order.pk, "not paid in time"))
    run(ReserveStock(order.pk))
    order.refresh_from_db()
    product.refresh_from_db()
    assert (order.status, product.stock) == (Order.Status.CANCELLED, 10)


def test_cancellation_takes_an_order_that_was_placed_before_it_was_a_saga(
    shop_server: LiveServer, product: Product
) -> None:
    order = Order.objects.create(product=product, quantity=1, total_cents=1250, charge_key="order-1")
    with job_scheduler.workflow("as it was then") as flow:
        flow.enqueue(ReserveStock(order.pk), delay=timedelta(hours=1))
    Order.objects.update(workflow_id=flow.workflow_id)
    registry.get("shop.CancelUnpaidOrder")  # jobs that were stored then
    run(CancelUnwantedOrder(order.pk))
    work()
    order.refresh_from_db()
    assert (order.status, order.problem) == (Order.Status.CANCELLED, "cancelled by the customer")
    assert workflow_of(order).cancelled_at
    assert SagaRecord.objects.get().completed_at


def test_paid_order_is_not_cancelled_by_whoever_comes_late(shop_server: LiveServer, product: Product) -> None:
    order = place(product)
    work()
    run(CancelUnwantedOrder(order.pk))
    work()
    order.refresh_from_db()
    assert order.status == Order.Status.PAID
    assert not JobRecord.objects.filter(job_type="shop.UndoOrder").exists()


def test_charge_gives_up_when_voided_while_it_was_under_way(shop_server: LiveServer, product: Product) -> None:
    order = reserved(product)
    Order.objects.update(charge_key="voided")
    Charge.objects.create(key="voided", status=Charge.Status.VOIDED, amount_cents=0)
    with pytest.raises(GiveUp, match="was cancelled before it was paid"):
        run(ChargeCard(order.pk))
    order.refresh_from_db()
    assert order.status == Order.Status.RESERVED  # the cancellation that voided it goes on


@pytest.mark.parametrize(
    "payload",
    [
        ReserveStock(999),
        ChargeCard(999),
        CheckPayment(999),
        PackParcel(999),
        SendReceipt(2**62),
        CancelUnwantedOrder(7),
        ShipOrder(0),
        UndoOrder(-1, "why"),
    ],
)
def test_job_gives_up_in_words_when_order_does_not_exist(payload: Job | Command) -> None:
    with pytest.raises(GiveUp, match="does not exist"):
        run(payload)
