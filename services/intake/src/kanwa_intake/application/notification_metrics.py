"""What /metrics says of Subscriptions."""

from typing import Final

from prometheus_client import Counter, Gauge

NOTIFICATIONS: Final = Counter(
    "kanwa_notifications_total", "Notifications sent to subscribers, by kind and outcome", ["kind", "outcome"]
)
SUBSCRIPTIONS: Final = Gauge("kanwa_subscriptions", "Topic-based Subscriptions", ["status"])
WAITING: Final = Gauge("kanwa_notifications_waiting", "Events not yet accepted by subscribers", ["status"])
