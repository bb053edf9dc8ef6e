"""fhirpy (PyPI): `python -m tests.clients.fhirpy_client http://127.0.0.1:8080/fhir`."""

import sys
from collections.abc import Callable
from uuid import uuid4

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import MultipleResourcesFound, OperationOutcome, ResourceNotFound

SYSTEM = "http://hospital.example/mrn"


def _refused(error: type[Exception], call: Callable[[], object]) -> Exception:
    """The error that a call ends with."""
    try:
        call()
    except error as told:
        return told
    raise AssertionError(f"no {error.__name__}")


def create_read_update(client: SyncFHIRClient, mark: str) -> None:
    patient = client.resource("Patient", name=[{"family": mark, "given": ["A"]}], active=True)
    patient.save()
    assert patient.id
    assert patient["meta"]["versionId"] == "1"
    read = client.reference("Patient", patient.id).to_resource()
    assert read["name"][0]["family"] == mark
    read["active"] = False
    read.save()
    assert read["meta"]["versionId"] == "2"
    patient.refresh()
    assert patient["active"] is False
    assert patient.refresh()["meta"]["versionId"] == "2", "nothing new since"
    assert patient.is_valid()


def search_and_page(client: SyncFHIRClient, mark: str) -> None:
    for number in range(7):
        client.resource("Patient", name=[{"family": mark, "given": [f"N{number}"]}]).save()
    found = client.resources("Patient").search(family=mark)
    assert found.count() == 7
    assert len(found.limit(3).fetch()) == 3
    assert sorted(one["name"][0]["given"][0] for one in found.limit(3).fetch_all()) == [
        f"N{n}" for n in range(7)
    ]
    ordered = [one["name"][0]["given"][0] for one in found.sort("-given").fetch()]
    assert ordered == [f"N{n}" for n in reversed(range(7))]
    part = found.elements("name").first()
    assert set(part) <= {"resourceType", "id", "meta", "name"}
    assert found.search(given="N3").get()["name"][0]["given"] == ["N3"]
    _refused(MultipleResourcesFound, found.get)
    observation = client.resource(
        "Observation",
        status="final",
        code={"text": mark},
        subject=found.search(given="N1").get().to_reference(),
    )
    observation.save()
    included = (
        client.resources("Observation")
        .search(_id=observation.id)
        .include("Observation", "subject")
        .fetch_raw()
    )
    assert included["total"] == 1


def history(client: SyncFHIRClient, mark: str) -> None:
    patient = client.resource("Patient", name=[{"family": mark}])
    patient.save()
    patient["active"] = True
    patient.save()
    versions = client.execute(f"Patient/{patient.id}/_history", method="get")
    assert [entry["resource"]["meta"]["versionId"] for entry in versions["entry"]] == ["2", "1"]


def conditional(client: SyncFHIRClient, mark: str) -> None:
    identified = {"identifier": [{"system": SYSTEM, "value": mark}]}
    condition = {"identifier": f"{SYSTEM}|{mark}"}
    first, made = (
        client.resources("Patient")
        .search(**condition)
        .get_or_create(client.resource("Patient", **identified))
    )
    second, again = (
        client.resources("Patient")
        .search(**condition)
        .get_or_create(client.resource("Patient", **identified))
    )
    assert (made, again, first["id"]) == (True, False, second["id"])
    changed, created = (
        client.resources("Patient")
        .search(**condition)
        .update(client.resource("Patient", **identified, active=True))
    )
    assert (created, changed["id"], changed["active"]) == (False, first["id"], True)


def patch(client: SyncFHIRClient, mark: str) -> None:
    patient = client.resource("Patient", name=[{"family": mark}], active=True)
    patient.save()
    patient.patch(active=False)
    assert patient["active"] is False
    assert patient["name"][0]["family"] == mark
    patient["gender"] = "female"
    patient.save(fields=["gender"])
    assert client.reference("Patient", patient.id).to_resource()["gender"] == "female"


def transaction(client: SyncFHIRClient, mark: str) -> None:
    url = f"urn:uuid:{uuid4()}"
    bundle = client.resource(
        "Bundle",
        type="transaction",
        entry=[
            {
                "fullUrl": url,
                "resource": {"resourceType": "Patient", "name": [{"family": mark}]},
                "request": {"method": "POST", "url": "Patient"},
            },
            {
                "resource": {"resourceType": "Condition", "subject": {"reference": url}},
                "request": {"method": "POST", "url": "Condition"},
            },
        ],
    )
    bundle.save()
    assert [entry["response"]["status"][:3] for entry in bundle["entry"]] == ["201", "201"]
    assert client.resources("Condition").search(**{"subject:Patient.family": mark}).count() == 1


def errors(client: SyncFHIRClient, mark: str) -> None:
    _refused(ResourceNotFound, client.reference("Patient", "none").to_resource)
    told = _refused(OperationOutcome, client.resource("Patient", gender=mark).save)
    assert told.resource["issue"][0]["expression"] == ["Patient.gender"]
    assert not client.resource("Patient", gender=mark).is_valid()
    patient = client.resource("Patient")
    patient.save()
    patient.delete()
    _refused(ResourceNotFound, client.reference("Patient", patient.id).to_resource)


FLOWS = (create_read_update, search_and_page, history, conditional, patch, transaction, errors)


def main(base: str) -> None:
    """Run every flow against the server."""
    client = SyncFHIRClient(base)
    for flow in FLOWS:
        flow(client, f"{flow.__name__}{uuid4().hex[:8]}")
        sys.stdout.write(f"fhirpy: {flow.__name__}\n")


if __name__ == "__main__":
    main(sys.argv[1])
