"""What triage wants to know about a patient, in one round trip."""

from typing import Final, LiteralString

from kanwa_intake.domain.triage import OBSERVATION_CODES, TriageFacts
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.tokens import any_system, token
from kanwa_shared.fhir.search.values import local_reference
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource

# More than this about one patient is not read: the newest count.
FACT_LIMIT: Final = 200

_TEXTS: Final[LiteralString] = (
    "SELECT v.resource_type, v.id, v.version, v.last_updated, v.interaction, v.body"
)

# A patient of kanwa is found through the reference's B-tree: the token index would first read through what was
# written a moment ago (its pending list), which costs as much as a commit.
_OF_PATIENT_HERE: Final[LiteralString] = """
    FROM resource_reference f JOIN resource r USING (resource_type, id)
    JOIN resource_version v USING (resource_type, id, version)
    WHERE f.target_type = %(patient_type)s AND f.target_id = %(patient_id)s AND f.param = 'subject'"""

_NEWEST: Final[LiteralString] = "ORDER BY r.last_updated DESC LIMIT %(limit)s"

_FACTS_HERE: Final[LiteralString] = f"""
    ({_TEXTS} {_OF_PATIENT_HERE} AND f.resource_type = 'Observation'
     AND NOT r.deleted AND r.tokens && %(codes)s::text[] {_NEWEST})
    UNION ALL
    ({_TEXTS} {_OF_PATIENT_HERE} AND f.resource_type = 'ServiceRequest'
     AND NOT r.deleted AND r.tokens @> ARRAY[%(active)s] {_NEWEST})"""

_FACTS_ELSEWHERE: Final[LiteralString] = f"""
    ({_TEXTS} FROM resource r JOIN resource_version v USING (resource_type, id, version)
     WHERE NOT r.deleted AND r.tokens @> ARRAY[%(observation_of)s] AND r.tokens && %(codes)s::text[] {_NEWEST})
    UNION ALL
    ({_TEXTS} FROM resource r JOIN resource_version v USING (resource_type, id, version)
     WHERE NOT r.deleted AND r.tokens @> ARRAY[%(request_of)s, %(active)s] {_NEWEST})"""

_READ: Final = (token("Observation", "code", any_system(code)) for code in OBSERVATION_CODES)
# As PostgreSQL writes an array: the same for every referral, so it is put together once.
_CODES: Final = "{" + ",".join(f'"{each}"' for each in _READ) + "}"
_ACTIVE: Final = token("ServiceRequest", "status", any_system("active"))


async def gather_facts(reference: str, service_request: Tree, context: Context) -> TriageFacts:
    """Observations that triage reads and other active requests, stored or about to be written."""
    subject = _subject(service_request, context)
    if not subject:
        return TriageFacts((), ())
    observations = {f"Observation/{id}": tree for id, tree in context.changes.pending("Observation")}
    requests = {f"ServiceRequest/{id}": tree for id, tree in context.changes.pending("ServiceRequest")}
    for stored in await _stored_facts(subject, context):
        kept = observations if stored.resource_type == "Observation" else requests
        kept.setdefault(stored.reference, stored.tree)
    requests.pop(reference, None)
    return TriageFacts(
        tuple(_about(subject, observations, context)), tuple(_about(subject, requests, context))
    )


def _about(subject: str, resources: dict[str, Tree], context: Context) -> list[tuple[str, Tree]]:
    return [(at, tree) for at, tree in resources.items() if _subject(tree, context) == subject]


def _subject(tree: Tree, context: Context) -> str:
    """Whom a resource is about: `Type/id` also where an absolute URL or a version says it; "" if it does not say."""
    text: str = tree.get("subject", {}).get("reference", "")
    here = local_reference(text, context.settings.base_url)
    return "/".join(here) if here else text


async def _stored_facts(subject: str, context: Context) -> list[StoredResource]:
    parameters = {"codes": _CODES, "active": _ACTIVE, "limit": FACT_LIMIT}
    here = local_reference(subject, context.settings.base_url)
    if here is not None:
        patient = {"patient_type": here[0], "patient_id": here[1]}
        return await context.store.query(_FACTS_HERE, parameters | patient)
    elsewhere = {
        "observation_of": token("Observation", "subject", any_system(subject)),
        "request_of": token("ServiceRequest", "subject", any_system(subject)),
    }
    return await context.store.query(_FACTS_ELSEWHERE, parameters | elsewhere)
