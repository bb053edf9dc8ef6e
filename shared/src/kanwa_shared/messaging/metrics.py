"""What operators watch: is the outbox draining, do deliveries fail, how old is what dashboards show."""

from typing import Final

from prometheus_client import Counter, Gauge

OUTBOX_DEPTH: Final = Gauge("kanwa_outbox_depth", "Outbox rows that are not published yet", ["source"])
OUTBOX_OLDEST_AGE_SECONDS: Final = Gauge(
    "kanwa_outbox_oldest_age_seconds", "Age of the oldest outbox row that is not published yet", ["source"]
)
RELAY_ACTIVE: Final = Gauge(
    "kanwa_relay_active", "1 in the process whose relay holds the source's lock", ["source"]
)
RELAY_PUBLISHED: Final = Counter("kanwa_relay_published", "Outbox rows published and confirmed", ["source"])
RELAY_FAILURES: Final = Counter(
    "kanwa_relay_failures", "Publishes that failed, by the kind of failure", ["source", "reason"]
)
RELAY_UNROUTED: Final = Counter(
    "kanwa_relay_unrouted", "Events that no queue is bound to and no kanwa consumer expects", ["source"]
)
DELIVERIES: Final = Counter(
    "kanwa_deliveries", "Deliveries by what became of them: done, later, dead", ["consumer", "settlement"]
)
REDELIVERIES: Final = Counter(
    "kanwa_redeliveries", "Deliveries that failed and are tried again", ["consumer"]
)
DEFERRED: Final = Counter(
    "kanwa_deferred",
    "Deliveries put off because an older one about the same resource is unsettled",
    ["consumer"],
)
DEAD_LETTERS: Final = Counter("kanwa_dead_letters", "Deliveries given up", ["consumer"])
DEAD_LETTER_DEPTH: Final = Gauge(
    "kanwa_dead_letter_depth", "Dead letters that nobody has replayed", ["consumer"]
)
STALE_EVENTS: Final = Counter(
    "kanwa_stale_events", "Events that are older than what the consumer already knows", ["consumer"]
)
SUPERSEDED_HAND_OVERS: Final = Counter(
    "kanwa_superseded_hand_overs",
    "Updates handed over of a version that the owner has replaced",
    ["consumer"],
)
PROJECTION_LAG_SECONDS: Final = Gauge(
    "kanwa_projection_lag_seconds",
    "From the commit to the consumer's effect, last event",
    ["consumer", "source"],
)
EVENT_GAPS: Final = Counter(
    "kanwa_event_gaps",
    "Events that a source published and the consumer did not receive",
    ["consumer", "source"],
)
EVENTS_FETCHED: Final = Counter(
    "kanwa_events_fetched", "Missing events that were fetched from the source's log", ["consumer", "source"]
)
EVENTS_BEYOND_RETENTION: Final = Counter(
    "kanwa_events_beyond_retention",
    "Events that the source had deleted before the consumer could compare with its log",
    ["consumer", "source"],
)
SOURCE_LOGS_WENT_BACK: Final = Counter(
    "kanwa_source_logs_went_back",
    "Looks that found a source behind what the consumer had from it: its database was restored",
    ["consumer", "source"],
)
EVENTS_GIVEN_UP: Final = Counter(
    "kanwa_events_given_up",
    "Missing events whose source has their resource's version no more",
    ["consumer", "source"],
)
GAP_CHECKS: Final = Counter(
    "kanwa_gap_checks", "Looks at a source's log that were finished", ["consumer", "source"]
)
GAP_CHECKS_FAILED: Final = Counter(
    "kanwa_gap_checks_failed", "Looks at a source's log that failed", ["consumer", "source"]
)
