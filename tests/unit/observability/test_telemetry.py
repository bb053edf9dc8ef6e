"""Several applications in one process count into the same metrics."""

from prometheus_client.parser import text_string_to_metric_families

from kanwa_shared.telemetry import count_request, render_metrics, route_template


def _value(name: str, labels: dict[str, str]) -> float:
    for family in text_string_to_metric_families(render_metrics().decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


def test_requests_are_counted_by_service_method_route_and_status() -> None:
    labels = {"service": "test-a", "method": "GET", "route": "/fhir/{resource_type}", "status": "200"}
    count_request("test-a", "GET", "/fhir/{resource_type}", 200, 0.004)
    count_request("test-a", "GET", "/fhir/{resource_type}", 200, 0.4)
    count_request("test-b", "GET", "/fhir/{resource_type}", 200, 0.4)
    assert _value("kanwa_http_requests_total", labels) == 2
    assert _value("kanwa_http_request_seconds_bucket", {"service": "test-a", "le": "0.005"}) == 1


def test_a_stream_is_counted_without_its_length() -> None:
    count_request("test-c", "GET", "/events", 200, None)
    assert _value("kanwa_http_requests_total", {"service": "test-c"}) == 1
    assert _value("kanwa_http_request_seconds_count", {"service": "test-c"}) == 0


def test_a_client_cannot_make_series_with_methods_of_its_own() -> None:
    count_request("test-d", "YAMADA", "unrouted", 405, 0.1)
    assert _value("kanwa_http_requests_total", {"service": "test-d", "method": "other"}) == 1


def test_a_request_that_no_route_answered_has_no_path_in_its_label() -> None:
    assert route_template({"path": "/fhir/Patient/Yamada"}) == "unrouted"
