"""fhirclient (PyPI), whose models are strict about every answer: `python -m tests.clients.fhirclient_client BASE`."""

import sys
from collections.abc import Callable
from uuid import uuid4

import requests
from fhirclient import client as fhirclient
from fhirclient.models.bundle import Bundle
from fhirclient.models.capabilitystatement import CapabilityStatement
from fhirclient.models.condition import Condition
from fhirclient.models.fhirreference import FHIRReference
from fhirclient.models.humanname import HumanName
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRServer


def _refused(call: Callable[[], object]) -> requests.Response:
    """The answer to a call that must be refused."""
    try:
        call()
    except requests.HTTPError as told:
        return told.response
    raise AssertionError("it was not refused")


def prepare(server: FHIRServer, _: str) -> None:
    statement = server.capabilityStatement
    assert isinstance(statement, CapabilityStatement)
    assert statement.fhirVersion == "4.0.1"


def create_read_update_delete(server: FHIRServer, mark: str) -> None:
    patient = Patient()
    patient.name = [HumanName({"family": mark, "given": ["A"]})]
    made = patient.create(server)
    assert made["id"]
    read = Patient.read(made["id"], server)
    assert read.name[0].family == mark
    read.active = False
    assert read.update(server)["meta"]["versionId"] == "2"
    condition = Condition()
    condition.subject = FHIRReference({"reference": f"Patient/{made['id']}"})
    written = condition.create(server)
    found = Condition.where({"subject": f"Patient/{made['id']}"}).perform_resources(server)
    assert [one.id for one in found] == [written["id"]]
    assert found[0].subject.resolved(Patient).name[0].family == mark
    found[0].delete(server)
    assert _refused(lambda: Condition.read(written["id"], server)).status_code == 410


def search_and_page(server: FHIRServer, mark: str) -> None:
    for number in range(5):
        patient = Patient()
        patient.name = [HumanName({"family": mark, "given": [f"N{number}"]})]
        patient.create(server)
    search = Patient.where({"family": mark, "_count": "2", "_sort": "given"})
    pages = list(search.perform_iter(server))
    assert [len(page.entry) for page in pages] == [2, 2, 1]
    assert all(page.total == 5 for page in pages)
    assert sorted(one.name[0].given[0] for one in search.perform_resources_iter(server)) == [
        f"N{n}" for n in range(5)
    ]
    bundle = Condition.where({"subject.family": mark}).include("subject").perform(server)
    assert bundle.total == 0


def history(server: FHIRServer, mark: str) -> None:
    patient = Patient()
    patient.name = [HumanName({"family": mark})]
    made = patient.create(server)
    read = Patient.read(made["id"], server)
    read.active = True
    read.update(server)
    versions = Bundle(server.request_json(f"Patient/{made['id']}/_history"))
    assert [entry.resource.meta.versionId for entry in versions.entry] == ["2", "1"]
    assert Patient.read_from(f"Patient/{made['id']}/_history/1", server).active is None


def transaction(server: FHIRServer, mark: str) -> None:
    url = f"urn:uuid:{uuid4()}"
    bundle = Bundle(
        {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "fullUrl": url,
                    "resource": {"resourceType": "Patient", "name": [{"family": mark}]},
                    "request": {"method": "POST", "url": "Patient", "ifNoneExist": f"family={mark}"},
                },
                {
                    "resource": {"resourceType": "Condition", "subject": {"reference": url}},
                    "request": {"method": "POST", "url": "Condition"},
                },
            ],
        }
    )
    answer = Bundle(server.post_json("", bundle.as_json()).json())
    assert [entry.response.status[:3] for entry in answer.entry] == ["201", "201"]
    again = Bundle(server.post_json("", bundle.as_json()).json())
    assert [entry.response.status[:3] for entry in again.entry] == ["200", "201"]
    assert answer.entry[0].response.location == again.entry[0].response.location


def errors(server: FHIRServer, mark: str) -> None:
    try:
        Patient.read("none", server)
    except FHIRNotFoundException:
        pass
    else:
        raise AssertionError("an unknown Patient was read")
    faulty = {"resourceType": "Patient", "gender": mark}
    refused = _refused(lambda: server.post_json("Patient", faulty))
    assert refused.status_code == 400
    assert refused.json()["issue"][0]["expression"] == ["Patient.gender"]


FLOWS = (prepare, create_read_update_delete, search_and_page, history, transaction, errors)


def main(base: str) -> None:
    """Run every flow against the server."""
    smart = fhirclient.FHIRClient(settings={"app_id": "strangers", "api_base": base})
    assert smart.prepare()
    for flow in FLOWS:
        flow(smart.server, f"{flow.__name__}{uuid4().hex[:8]}")
        sys.stdout.write(f"fhirclient (Python): {flow.__name__}\n")


if __name__ == "__main__":
    main(sys.argv[1])
