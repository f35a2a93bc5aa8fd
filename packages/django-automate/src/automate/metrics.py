"""Prometheus metrics of the outbox, served where ``METRICS_EXPORT`` is on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from automate_core import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

__all__ = ["metrics", "urlpatterns"]


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape.

    Args:
        request: The request.

    Returns:
        The metrics in Prometheus' text format.

    Raises:
        Http404: If ``METRICS_EXPORT`` is off.
    """
    if not settings.current().metrics_export:
        raise Http404("METRICS_EXPORT is off")
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST

    registry = CollectorRegistry()
    registry.register(_OutboxCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _OutboxCollector:
    """Reads the live rows of the outbox, which the partial indexes keep few; history is never counted."""

    def collect(self) -> Iterable[Any]:
        from automate_core.outbox import JobStatus
        from automate_outbox.models import OutboxJob
        from django.db.models import Count, Min
        from django.utils import timezone
        from prometheus_client.core import GaugeMetricFamily

        live = (JobStatus.PENDING, JobStatus.RETRY, JobStatus.CLAIMED)
        rows = (
            OutboxJob.objects.filter(status__in=live)
            .values("status")
            .annotate(count=Count("id"), first=Min("created_at"))
        )
        depth = GaugeMetricFamily("automate_outbox_items", "Live items of the outbox.", labels=["status"])
        found: dict[str, Any] = {row["status"]: row for row in rows}
        for status in live:
            depth.add_metric([status.lower()], found.get(status, {}).get("count", 0))
        yield depth
        waiting = [found[s]["first"] for s in (JobStatus.PENDING, JobStatus.RETRY) if s in found]
        age = (timezone.now() - min(waiting)).total_seconds() if waiting else 0.0
        yield GaugeMetricFamily(
            "automate_outbox_oldest_seconds", "Age of the oldest unclaimed item.", value=max(age, 0.0)
        )


urlpatterns = [path("metrics", metrics, name="automate-metrics")]
