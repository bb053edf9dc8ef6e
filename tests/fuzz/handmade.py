"""Requests of every interaction, with paths, headers and bodies that fit and that do not."""

import json
from typing import Final

from hypothesis import strategies as st

from tests.fuzz.bodies import OWNED, WEIRD_TEXT, resources, spoilt
from tests.fuzz.parts import EXTRA_HEADERS, IDS, MEDIA
from tests.fuzz.patches import patches
from tests.fuzz.searches import queries, types
from tests.fuzz.sent import Sent


@st.composite
def _headers(draw: st.DrawFn) -> dict[str, str]:
    return {"Content-Type": draw(MEDIA), **draw(EXTRA_HEADERS)}


@st.composite
def reads(draw: st.DrawFn) -> Sent:
    """read, vread, histories, HEAD and OPTIONS."""
    resource_type = draw(
        types | st.sampled_from(["Banana", "patient", "", "Parameters", "Bundle", "OperationOutcome"])
    )
    id = draw(IDS)
    version = draw(st.sampled_from(["1", "2", "0", "-1", "x", "9" * 30, "%00"]))
    path = draw(
        st.sampled_from(
            [
                f"{resource_type}/{id}",
                f"{resource_type}/{id}/_history",
                f"{resource_type}/{id}/_history/{version}",
                f"{resource_type}/_history",
                "_history",
                "metadata",
                f"{resource_type}/{id}/{resource_type}",
                "",
                "/",
                f"{resource_type}//{id}",
                f"{resource_type}/{id}/",
                ".well-known/smart-configuration",
                "_search",
            ]
        )
    )
    query = draw(
        st.lists(
            st.sampled_from(
                [
                    ("_count", "1"),
                    ("_count", "x"),
                    ("_since", "2026-01-01"),
                    ("_since", "x"),
                    ("_at", "2026-11"),
                    ("_summary", "true"),
                    ("_elements", "id"),
                    ("_format", "xml"),
                    ("_cursor", "x"),
                    ("banana", "1"),
                ]
            ),
            max_size=2,
        )
    )
    method = draw(st.sampled_from(["GET"] * 5 + ["HEAD", "OPTIONS", "POST", "TRACE"]))
    return Sent(method, path, tuple(query), draw(EXTRA_HEADERS))


@st.composite
def searches(draw: st.DrawFn) -> Sent:
    """Searches by GET and by form."""
    resource_type = draw(types)
    query = tuple(draw(queries(resource_type)))
    if draw(st.booleans()):
        return Sent("GET", resource_type, query, draw(EXTRA_HEADERS))
    form = Sent("", "", query).target.lstrip("?").encode(errors="replace")
    return Sent(
        "POST",
        f"{resource_type}/_search",
        (),
        {"Content-Type": "application/x-www-form-urlencoded"},
        draw(spoilt(form) | st.just(form)),
    )


@st.composite
def writes(draw: st.DrawFn) -> Sent:
    """create, update and delete, conditional or not."""
    resource_type = draw(types)
    body = draw(resources(draw(st.sampled_from([resource_type] * 4 + [None]))))
    method = draw(st.sampled_from(["POST", "POST", "PUT", "PUT", "DELETE"]))
    id = draw(IDS)
    query = tuple(draw(queries(resource_type))) if draw(st.integers(0, 3)) == 0 else ()
    path = resource_type if method == "POST" or query else f"{resource_type}/{id}"
    if method == "PUT" and b'"id"' in body and "/" in path and draw(st.integers(0, 2)):
        body = _with_id(body, id)
    return Sent(method, path, query, draw(_headers()), None if method == "DELETE" else body)


def _with_id(body: bytes, id: str) -> bytes:
    try:
        return json.dumps({**json.loads(body), "id": id}).encode()
    except (ValueError, TypeError, RecursionError):
        return body


@st.composite
def bundles(draw: st.DrawFn) -> Sent:
    """Batches and transactions of up to four entries."""
    entries: list[str] = []
    for _ in range(draw(st.integers(0, 4))):
        resource_type = draw(types)
        method = draw(st.sampled_from(["POST", "POST", "PUT", "DELETE", "GET", "PATCH", "HEAD", "banana"]))
        url = draw(
            st.sampled_from(
                [
                    resource_type,
                    f"{resource_type}/a",
                    f"{resource_type}?identifier=a|b",
                    "Banana",
                    "",
                    "http://[",
                ]
            )
        )
        request = {
            "method": method,
            "url": url,
            **draw(
                st.dictionaries(
                    st.sampled_from(["ifMatch", "ifNoneExist", "ifNoneMatch", "ifModifiedSince"]),
                    WEIRD_TEXT,
                    max_size=1,
                )
            ),
        }
        resource = draw(resources(resource_type, sound=0.8)).decode(errors="replace")
        full_url = json.dumps(
            draw(
                st.sampled_from(["urn:uuid:6f2b4f6e-7f0e-4f5c-9c43-0a4f6f1c8d11", "a", "http://x/Patient/1"])
            )
        )
        entries.append(f'{{"fullUrl":{full_url},"request":{json.dumps(request)},"resource":{resource}}}')
    kind = draw(st.sampled_from(["transaction", "transaction", "batch", "collection", "history"]))
    content = f'{{"resourceType":"Bundle","type":"{kind}","entry":[{",".join(entries)}]}}'.encode()
    return Sent(
        "POST", draw(st.sampled_from(["", "/", "Bundle"])), (), draw(_headers()), draw(spoilt(content))
    )


@st.composite
def operations(draw: st.DrawFn) -> Sent:
    """Operations with parameters by URL and by body."""
    resource_type, id = draw(types | st.just("Patient") | st.just("Appointment")), draw(IDS)
    name = draw(
        st.sampled_from(
            [
                "$validate",
                "$meta",
                "$meta-add",
                "$meta-delete",
                "$everything",
                "$export",
                "$find",
                "$hold",
                "$book",
                "$status",
                "$events",
                "$banana",
                "$",
                "$record",
                "$export-counts",
                "$capability",
            ]
        )
    )
    path = draw(
        st.sampled_from(
            [f"{resource_type}/{name}", f"{resource_type}/{id}/{name}", name, f"$export/{id}", f"{name}/x"]
        )
    )
    names = st.sampled_from(
        [
            "resource",
            "mode",
            "profile",
            "meta",
            "_since",
            "_type",
            "_count",
            "start",
            "end",
            "_cursor",
            "based-on",
            "appt-resource",
            "appt-reference",
            "patient",
            "_outputFormat",
            "x",
        ]
    )
    if draw(st.booleans()):
        query = tuple(
            (each, draw(WEIRD_TEXT | st.sampled_from(["create", "2026", "Patient", "1"])))
            for each in draw(st.lists(names, max_size=3))
        )
        return Sent("GET", path, query, draw(EXTRA_HEADERS))
    values = st.sampled_from(
        [
            {"valueString": "x"},
            {"valueCode": "create"},
            {"valueUri": "http://x"},
            {"valueMeta": {"tag": [{"code": "a"}]}},
            {"valueReference": {"reference": "ServiceRequest/a"}},
            {"valueDateTime": "2026-11-26T08:00:00Z"},
            {"valueInteger": -1},
            {"resource": {"resourceType": "Appointment", "status": "proposed", "participant": []}},
            {"part": []},
            {},
        ]
    )
    given = [{"name": each, **draw(values)} for each in draw(st.lists(names, max_size=3))]
    whole = json.dumps({"resourceType": "Parameters", "parameter": given}).encode()
    body = draw(spoilt(whole) | resources(resource_type if resource_type in OWNED else None))
    return Sent("POST", path, (), draw(_headers()), body)


anything: Final = st.one_of(
    reads(), searches(), searches(), writes(), writes(), patches(), bundles(), operations()
)
