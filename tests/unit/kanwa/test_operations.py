"""One answer for a deployment of many processes."""

from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kanwa.operations import create_app, merge_metrics, parse_targets

TARGETS = {"intake-api": "http://intake-api:8000", "intake-worker": "http://intake-worker:8000"}
INTAKE = '# HELP outbox_depth Waiting\n# TYPE outbox_depth gauge\noutbox_depth{kind="event"} 3.0\n'
WORKER = '# HELP outbox_depth Waiting\n# TYPE outbox_depth gauge\noutbox_depth{kind="event"} 5.0\n'


def samples(text: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels["process"]): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def ask(path: str, answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Response:
    app = create_app(TARGETS, transport=httpx.MockTransport(answer))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://operations") as client,
    ):
        return await client.get(path)


async def test_all_are_ready_when_each_says_so() -> None:
    answer = await ask("/ready", lambda _: httpx.Response(200, json={"status": "ready"}))
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert answer.json()["processes"].keys() == TARGETS.keys()


async def test_one_degraded_process_makes_the_whole_degraded_but_usable() -> None:
    def one_degraded(request: httpx.Request) -> httpx.Response:
        status = "degraded" if request.url.host == "intake-worker" else "ready"
        return httpx.Response(200, json={"status": status})

    answer = await ask("/ready", one_degraded)
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


@pytest.mark.parametrize("broken", ["refuses", "503", "not-json"])
async def test_one_process_that_is_not_ready_makes_the_whole_not_ready(broken: str) -> None:
    def one_broken(request: httpx.Request) -> httpx.Response:
        if request.url.host == "intake-api":
            return httpx.Response(200, json={"status": "ready"})
        if broken == "refuses":
            raise httpx.ConnectError("refused")
        return httpx.Response(503, text="<html>") if broken == "503" else httpx.Response(500, text="x")

    answer = await ask("/ready", one_broken)
    assert (answer.status_code, answer.json()["status"]) == (503, "not-ready")
    assert answer.json()["processes"]["intake-api"] == {"status": "ready"}
    assert answer.json()["processes"]["intake-worker"]["status"] != "ready"


async def test_metrics_of_all_are_given_with_the_name_of_their_process() -> None:
    texts = {"intake-api": INTAKE, "intake-worker": WORKER}
    answer = await ask("/metrics", lambda request: httpx.Response(200, text=texts[request.url.host]))
    found = samples(answer.content)
    assert found["outbox_depth", "intake-api"] == 3.0
    assert found["outbox_depth", "intake-worker"] == 5.0
    assert answer.text.count("# TYPE outbox_depth") == 1


def test_a_process_without_an_answer_is_shown_as_down() -> None:
    found = samples(merge_metrics({"intake-api": INTAKE, "intake-worker": None}))
    assert found["kanwa_process_up", "intake-api"] == 1.0
    assert found["kanwa_process_up", "intake-worker"] == 0.0


def test_histograms_keep_their_buckets() -> None:
    histogram = (
        "# HELP wait_seconds W\n# TYPE wait_seconds histogram\n"
        'wait_seconds_bucket{le="1.0"} 2.0\nwait_seconds_bucket{le="+Inf"} 4.0\n'
        "wait_seconds_count 4.0\nwait_seconds_sum 9.5\n"
    )
    merged = merge_metrics({"mdt-api": histogram}).decode()
    assert 'wait_seconds_bucket{le="+Inf",process="mdt-api"} 4.0' in merged
    assert 'wait_seconds_sum{process="mdt-api"} 9.5' in merged


async def test_the_process_itself_is_alive_whatever_the_others_say() -> None:
    answer = await ask("/health", lambda _: httpx.Response(500))
    assert answer.json() == {"status": "alive"}


def test_targets_are_read_with_their_addresses() -> None:
    assert parse_targets("a=http://a:1  b=https://b/") == {"a": "http://a:1", "b": "https://b"}


@pytest.mark.parametrize("text", ["a", "a=", "=http://a", "a=ftp://a"])
def test_a_target_of_another_form_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="KANWA_OPERATIONS_TARGETS"):
        parse_targets(text)
