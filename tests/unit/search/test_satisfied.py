"""Conditions decided on one resource, without a database: the answers are those of a search."""

from urllib.parse import parse_qsl

import pytest

from kanwa_shared.fhir.search import index, parse_search
from kanwa_shared.fhir.search.satisfied import satisfies

BASE = "https://kanwa.test/fhir"


@pytest.mark.parametrize("stored", ["Patient/1", f"{BASE}/Patient/1", f"{BASE}/Patient/1/_history/3"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("patient=1", True),
        ("patient=Patient/1", True),
        (f"patient={BASE}/Patient/1", True),
        (f"patient={BASE}/Patient/2,{BASE}/Patient/1", True),
        (f"patient={BASE}/Patient/1&status=active", True),
        (f"subject:Patient={BASE}/Patient/1", True),
        (f"patient={BASE}/Patient/2", False),
        ("patient=https://elsewhere.test/fhir/Patient/1", False),
    ],
)
def test_a_url_of_this_server_and_a_relative_reference_are_the_same(
    stored: str, query: str, expected: bool
) -> None:
    tree = {"resourceType": "ServiceRequest", "id": "s", "status": "active", "subject": {"reference": stored}}
    condition = parse_search("ServiceRequest", parse_qsl(query)).condition
    for base_url in (BASE, f"{BASE}/"):
        rows = index(tree, base_url=base_url)
        assert satisfies(condition, rows, "s", base_url=base_url) is expected


def test_a_reference_elsewhere_is_found_by_its_url_alone() -> None:
    elsewhere = "https://elsewhere.test/fhir/Patient/1"
    tree = {"resourceType": "ServiceRequest", "id": "s", "subject": {"reference": elsewhere}}
    rows = index(tree, base_url=BASE)
    for value, expected in ((elsewhere, True), ("Patient/1", False), (f"{BASE}/Patient/1", False)):
        condition = parse_search("ServiceRequest", [("patient", value)]).condition
        assert satisfies(condition, rows, "s", base_url=BASE) is expected
