"""Prometheus metrics of the outbox, served where ``METRICS_EXPORT`` is on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from automate_core import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

__all__ = ["COUNTERS", "metrics", "urlpatterns"]

COUNTERS = {
    "claimed": "Claims, each a charged attempt.",
    "completed": "Items that were completed.",
    "retried": "Items that were given back to be tried again after an error.",
    "failed": "Items that became dead letters after an error.",
    "crashed": "Items that became dead letters because workers died over them.",
    "reaped": "Items that were taken from dead workers.",
    "released": "Items that were handed back untouched.",
    "stale_refused": "Writes that were refused because the claim was no longer the live one.",
}
"""The counters of the workers: ``automate_outbox_<name>_total``."""


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
    """Turns the gauges that the outbox keeps into Prometheus' families; a scrape that finds them kept asks nothing."""

    def collect(self) -> Iterable[Any]:
        from automate_outbox.gauges import QueueGauges, gauges
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        read = gauges()
        queues = read.queues or (QueueGauges("default", 0, 0, 0.0),)  # a metric that is absent raises no alert
        items = GaugeMetricFamily("automate_outbox_items", "Items that wait to be claimed.", labels=["queue", "state"])
        oldest = GaugeMetricFamily(
            "automate_outbox_oldest_seconds", "How long the item that waits longest has been due.", labels=["queue"]
        )
        for one in queues:
            items.add_metric([one.queue, "due"], one.due)
            items.add_metric([one.queue, "waiting"], one.waiting)
            oldest.add_metric([one.queue], one.oldest_seconds)
        yield items
        yield oldest
        yield GaugeMetricFamily("automate_outbox_in_flight", "Claimed items.", value=read.in_flight)
        yield GaugeMetricFamily("automate_outbox_dead_letters", "Dead letters.", value=read.dead)
        workers = Counter(worker.mode for worker in read.alive)
        alive = GaugeMetricFamily("automate_workers", "Workers that are alive.", labels=["mode"])
        for mode in sorted(workers) or ["thread"]:
            alive.add_metric([mode], workers[mode])
        yield alive
        yield GaugeMetricFamily(
            "automate_enabled", "1 where anything may run; 0 where automation is switched off or paused.", _is_on()
        )
        for name, meaning in COUNTERS.items():
            yield CounterMetricFamily(f"automate_outbox_{name}", meaning, value=read.totals[name])


_kept = (0.0, False)
"""Until when it counts, by ``time.monotonic()``, whether automation is paused."""


def _is_on() -> bool:
    from automate.policy.switch import current_pause

    global _kept
    now, current = time.monotonic(), settings.current()
    seconds = current.outbox.metrics_cache_seconds
    if now >= _kept[0] or not seconds:
        _kept = (now + seconds, current_pause() is not None)
    return current.enabled and not _kept[1]


urlpatterns = [path("metrics", metrics, name="automate-metrics")]
