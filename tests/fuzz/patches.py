"""Patches: JSON Patch, FHIRPath Patch and partial resources."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz.bodies import WEIRD_JSON, spoilt
from tests.fuzz.parts import EXTRA_HEADERS, FHIR, IDS
from tests.fuzz.searches import types
from tests.fuzz.sent import Sent

_POINTERS: Final = st.sampled_from(
    [
        "/status",
        "/name/0/family",
        "/extension/-",
        "/",
        "",
        "/id",
        "/meta/versionId",
        "/resourceType",
        "status",
        "/a~2b",
        "/name/99999999999",
    ]
)
_FHIRPATHS: Final = st.sampled_from(
    [
        "Patient.name",
        "Task.status",
        "status",
        "Observation.value",
        "Patient.name[0].family",
        "Patient.where(",
        "1/0",
        "%resource",
        "iif(",
        "a" * 2000,
    ]
)


@st.composite
def patches(draw: st.DrawFn) -> Sent:
    """JSON Patch, FHIRPath Patch and partial resources."""
    resource_type = draw(types)
    kind = draw(st.sampled_from(["json", "fhirpath", "partial"]))
    body: Any
    if kind == "json":
        operations = st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "banana"]),
                "path": _POINTERS,
            },
            optional={"value": WEIRD_JSON, "from": _POINTERS},
        )
        body, media = draw(st.lists(operations, max_size=4) | WEIRD_JSON), "application/json-patch+json"
    elif kind == "fhirpath":
        part = st.fixed_dictionaries(
            {
                "name": st.sampled_from(
                    ["type", "path", "name", "value", "index", "source", "destination", "banana"]
                )
            },
            optional={
                "valueCode": st.sampled_from(["add", "insert", "delete", "replace", "move"]),
                "valueString": _FHIRPATHS,
                "valueInteger": st.integers(-2, 9),
                "valueHumanName": st.just({"family": "X"}),
            },
        )
        operation = st.fixed_dictionaries({"name": st.just("operation"), "part": st.lists(part, max_size=5)})
        body = {"resourceType": "Parameters", "parameter": draw(st.lists(operation, max_size=2))}
        media = FHIR
    else:
        body = {
            "resourceType": resource_type,
            draw(st.sampled_from(["status", "name", "active", "id"])): draw(WEIRD_JSON),
        }
        media = "application/json"
    content = json.dumps(body).encode()
    headers = {"Content-Type": media, **draw(EXTRA_HEADERS)}
    return Sent("PATCH", f"{resource_type}/{draw(IDS)}", (), headers, draw(spoilt(content)))
