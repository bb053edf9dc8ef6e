"""Bundles that kanwa answers with; entries keep their resources' exact text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import uuid4

import msgspec

from kanwa_shared.fhir.http import etag
from kanwa_shared.store.stored import StoredResource

Entry = dict[str, Any]


def search_entry(resource: StoredResource, base_url: str, mode: str) -> Entry:
    """A searchset entry; `mode` is match, include or outcome."""
    return {**_content(resource, base_url), "search": {"mode": mode}}


def history_entry(resource: StoredResource, base_url: str) -> Entry:
    """A history entry with the request that made the version and the response it got (bdl-3, bdl-4)."""
    method, status = {"create": ("POST", "201"), "update": ("PUT", "200"), "delete": ("DELETE", "204")}[
        resource.interaction
    ]
    url = resource.resource_type if method == "POST" else resource.reference
    return {
        **_content(resource, base_url),
        "request": {"method": method, "url": url},
        "response": {
            "status": status,
            "etag": etag(resource.version),
            "lastModified": instant(resource.last_updated),
        },
    }


def bundle(
    bundle_type: str,
    entries: Sequence[Entry],
    *,
    total: int | None = None,
    links: dict[str, str] | None = None,
) -> bytes:
    """The JSON text of a Bundle; `links` maps a relation (self, next …) to an absolute URL."""
    written: Entry = {"resourceType": "Bundle", "id": str(uuid4()), "type": bundle_type}
    if total is not None:
        written["total"] = total
    if links:
        written["link"] = [{"relation": relation, "url": url} for relation, url in links.items()]
    if entries:
        written["entry"] = entries
    return msgspec.json.encode(written)


@lru_cache(maxsize=256)  # a rule writes the moment of its request into every Task
def instant(moment: datetime) -> str:
    """A FHIR instant in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _content(resource: StoredResource, base_url: str) -> Entry:
    full_url = {"fullUrl": f"{base_url}/{resource.reference}"}
    return full_url if resource.body is None else {**full_url, "resource": msgspec.Raw(resource.body)}
