"""``/metrics`` for Prometheus, and ``/readyz`` for whoever sends requests here."""

from __future__ import annotations

from ipaddress import ip_address
from secrets import compare_digest

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from handlers.conf import jobs_settings
from handlers.metrics.readiness import not_ready

# Who passes on what others ask says so in a header that begins so.
FORWARDED = ("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
SCHEME = "Bearer "


@never_cache
@require_safe
@transaction.non_atomic_requests
def metrics(request: HttpRequest) -> HttpResponse:
    """The numbers, for whoever shows the token, or asks from this machine where the settings allow that."""
    if (refused := _refused(request)) is not None:
        return refused
    try:
        # Only here: other processes, and sites without the extra, do without it.
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder

        from handlers.metrics.families import JobsCollector
        from handlers.metrics.text import text
    except ImportError:
        return _text('Metrics need prometheus-client: pip install "jobsite[metrics]"', 501)
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    if _rewrites_names(content_type):
        registry = CollectorRegistry(auto_describe=False)
        registry.register(JobsCollector())
        return HttpResponse(encode(registry), content_type=content_type)
    openmetrics = content_type.startswith("application/openmetrics-text")
    return HttpResponse(text(JobsCollector().collect(), openmetrics=openmetrics), content_type=content_type)


@never_cache
@require_safe
@transaction.non_atomic_requests
def ready(request: HttpRequest) -> HttpResponse:
    """Whether database, queue server and migrations are there: 200, else 503 and what is missing, a line each.

    ``?without=redis`` leaves that out: what is enqueued meanwhile is published later.
    """
    missing = not_ready(without=request.GET.getlist("without"))
    return _text("\n".join(missing), 503) if missing else _text("ok")


def _refused(request: HttpRequest) -> HttpResponse | None:
    used = jobs_settings()
    if used.metrics_loopback and _is_from_here(request):
        return None
    if not used.metrics_token:
        return _text("Set JOBS METRICS_TOKEN, or METRICS_LOOPBACK for this machine alone.", 403)
    shown = request.headers.get("Authorization", "")
    # In constant time, whatever is shown; the scheme is no secret.
    if compare_digest(shown.removeprefix(SCHEME).encode(), used.metrics_token.encode()) and shown.startswith(SCHEME):
        return None
    refused = _text("Send Authorization: Bearer and the token of JOBS METRICS_TOKEN.", 401)
    refused["WWW-Authenticate"] = 'Bearer realm="metrics"'
    return refused


def _rewrites_names(content_type: str) -> bool:
    """Whether that wants even plain names in another spelling, as hardly anybody does."""
    return "escaping=dots" in content_type or "escaping=values" in content_type


def _is_from_here(request: HttpRequest) -> bool:
    """Whether a program on this machine asks for itself; not a proxy, whose requests come from here, too."""
    if any(name.startswith(FORWARDED) for name in request.META):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:  # a unix socket has none, and a proxy behind it
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _text(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(f"{text}\n", content_type="text/plain; charset=utf-8", status=status)
