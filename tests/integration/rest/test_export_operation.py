"""$export gives every resource as it was at one moment, from every service, whatever is written meanwhile."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from kanwa_shared.fhir.json_text import instant
from kanwa_shared.rest import engine as engine_module
from kanwa_shared.rest.engine import Origin
from kanwa_shared.rest.service import Context
from kanwa_shared.store import snapshot
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import commit
from tests.support.fhir_server import BASE, FhirServer, fhir_server
from tests.support.signed_in import authorization_server, bearer, protected_settings
from tests.support.waiting import next_millisecond, until

P = {"reference": "Patient/p"}
SEED: list[dict[str, Any]] = [
    {"resourceType": "Patient", "id": "p"},
    {"resourceType": "Organization", "id": "o", "name": "first"},
    {"resourceType": "Basic", "id": "plain", "code": {"text": "x"}},
    {"resourceType": "Basic", "id": "hers", "code": {"text": "x"}, "subject": P},
    {"resourceType": "Location", "id": "l"},
    {"resourceType": "Observation", "id": "v", "status": "final", "code": {"text": "x"}, "subject": P},
]
KINDS = sorted({one["resourceType"] for one in SEED})


async def put(fhir: httpx.AsyncClient, resource: dict[str, Any], text: bytes | None = None) -> None:
    content = text or json.dumps(resource).encode()
    answer = await fhir.put(f"{resource['resourceType']}/{resource['id']}", content=content)
    assert answer.status_code in {200, 201}, answer.text


@pytest.fixture
async def server(database: Callable[..., str]) -> AsyncIterator[FhirServer]:
    async with fhir_server(database, export_settle_seconds=0) as running:
        for resource in SEED:
            await put(running.fhir, resource)
        yield running


async def kick_off(fhir: httpx.AsyncClient, path: str = "$export") -> str:
    answer = await fhir.get(path, headers={"prefer": "respond-async", "accept": "application/fhir+json"})
    assert answer.status_code == 202, answer.text
    return answer.headers["content-location"]


async def manifest_of(fhir: httpx.AsyncClient, status: str) -> dict[str, Any]:
    async def complete() -> httpx.Response:  # another test's transaction on the same server may delay it
        answer = await fhir.get(status)
        assert answer.status_code == 200, (answer.status_code, dict(answer.headers), answer.text)
        return answer

    answer = await until(complete, what="the export")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


async def lines_of(fhir: httpx.AsyncClient, url: str) -> list[dict[str, Any]]:
    answer = await fhir.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


async def exported(fhir: httpx.AsyncClient, status: str) -> dict[str, dict[str, Any]]:
    """Every resource of a complete export by its reference, checked against the manifest's counts."""
    found: dict[str, dict[str, Any]] = {}
    for file in (await manifest_of(fhir, status))["output"]:
        lines = await lines_of(fhir, file["url"])
        assert {line["resourceType"] for line in lines} <= {file["type"]}
        assert file.get("count", len(lines)) == len(lines)
        found |= {f"{line['resourceType']}/{line['id']}": line for line in lines}
    return found


def references(*resources: dict[str, Any]) -> set[str]:
    return {f"{one['resourceType']}/{one['id']}" for one in resources}


async def test_an_export_holds_every_type_of_every_service(server: FhirServer) -> None:
    status = await kick_off(server.fhir, "$export?_outputFormat=ndjson")
    manifest = await manifest_of(server.fhir, status)
    assert manifest["request"].endswith("/fhir/$export?_outputFormat=ndjson")
    assert (manifest["requiresAccessToken"], manifest["error"]) == (False, [])
    assert [file["type"] for file in manifest["output"]] == KINDS
    assert set(await exported(server.fhir, status)) == references(*SEED)


async def test_the_files_show_the_moment_of_the_request_though_all_changes_afterwards(
    server: FhirServer,
) -> None:
    status = await kick_off(server.fhir)
    await put(server.fhir, {"resourceType": "Organization", "id": "o", "name": "second"})
    await put(server.fhir, {"resourceType": "Patient", "id": "later"})
    await server.fhir.delete("Observation/v")
    await server.fhir.delete("Basic/plain")
    found = await exported(server.fhir, status)
    assert set(found) == references(*SEED)
    assert found["Organization/o"]["name"] == "first"
    again = await exported(server.fhir, status)
    assert again == found, "fetched twice it is the same"


async def test_since_gives_what_changed_and_what_was_deleted(server: FhirServer) -> None:
    since = await next_millisecond()
    await put(server.fhir, {"resourceType": "Organization", "id": "o", "name": "second"})
    await server.fhir.delete("Observation/v")
    await server.fhir.delete("Basic/plain")
    for path, gone in (("$export", ["Basic/plain", "Observation/v"]), ("Patient/$export", ["Observation/v"])):
        status = await kick_off(server.fhir, f"{path}?_since={since}")
        manifest = await manifest_of(server.fhir, status)
        bundles = [line for file in manifest["deleted"] for line in await lines_of(server.fhir, file["url"])]
        assert sorted(one["entry"][0]["request"]["url"] for one in bundles) == gone
        expected = {"Organization/o"} if path == "$export" else set[str]()
        assert set(await exported(server.fhir, status)) == expected


async def test_the_patients_export_has_what_is_some_patients_alone(server: FhirServer) -> None:
    found = await exported(server.fhir, await kick_off(server.fhir, "Patient/$export"))
    assert set(found) == {"Patient/p", "Basic/hers", "Observation/v"}
    typed = await exported(server.fhir, await kick_off(server.fhir, "Patient/$export?_type=Basic"))
    assert set(typed) == {"Basic/hers"}
    assert (await server.fhir.get("Patient/$export?_type=Organization")).status_code == 400


@pytest.mark.parametrize(
    "path", ["$export?_type=Patient,Location", "Patient/$export", "Patient/$export?_type=Patient"]
)
async def test_an_export_has_files_of_its_own_types_alone(server: FhirServer, path: str) -> None:
    status = await kick_off(server.fhir, path)
    await manifest_of(server.fhir, status)
    for name in ("Organization", "ResearchStudy", "HealthcareService"):
        answer = await server.fhir.get(f"{name}/$export/{status.rpartition('/')[2]}")
        assert (answer.status_code, answer.json()["resourceType"]) == (404, "OperationOutcome"), name


async def test_types_can_be_chosen_by_url_or_parameters(server: FhirServer) -> None:
    status = await kick_off(server.fhir, "$export?_type=Basic,Location")
    assert set(await exported(server.fhir, status)) == {"Basic/plain", "Basic/hers", "Location/l"}
    body = {"resourceType": "Parameters", "parameter": [{"name": "_type", "valueString": "Location"}]}
    posted = await server.fhir.post("$export", json=body)
    assert set(await exported(server.fhir, posted.headers["content-location"])) == {"Location/l"}


async def test_pages_of_bounded_size_give_each_resource_once_on_a_line_of_its_own(
    server: FhirServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        resource = {"resourceType": "Basic", "id": f"b{number}", "code": {"text": "x" * 400}}
        text = json.dumps(resource, indent=1).replace('"x', '"\\n1.50x').encode()
        await put(server.fhir, resource, text)
    status = await kick_off(server.fhir, "$export?_type=Basic")
    for resources, octets in ((2, 10**9), (100, 900), (1, 1)):
        monkeypatch.setattr(snapshot, "PAGE_RESOURCES", resources)
        monkeypatch.setattr(snapshot, "PAGE_BYTES", octets)
        assert len(await exported(server.fhir, status)) == 11
    monkeypatch.setattr(snapshot, "PAGE_RESOURCES", 100)
    monkeypatch.setattr(snapshot, "PAGE_BYTES", 900)
    moment = snapshot.Moment(datetime.now(UTC))
    pool = server.applications["intake"].state.engine.store.pool
    read = [page async for page in snapshot.pages(pool, "Basic", moment)]
    sizes = [sum(len(text) for _, text in page) for page in read]
    assert max(sizes) < 900 + 700, "a page ends with the resource that fills it"


async def test_an_export_is_under_way_until_its_moment_has_settled(database: Callable[..., str]) -> None:
    async with fhir_server(database, export_settle_seconds=3600) as server:
        answer = await server.fhir.get(await kick_off(server.fhir))
    assert answer.status_code == 202
    assert answer.headers["x-progress"]
    assert 3500 < int(answer.headers["retry-after"]) <= 3600


@pytest.mark.parametrize(("service", "name"), [("intake", "Basic"), ("outcomes", "Observation")])
async def test_a_write_that_was_under_way_at_the_moment_is_waited_for(
    server: FhirServer, monkeypatch: pytest.MonkeyPatch, service: str, name: str
) -> None:
    monkeypatch.setattr(snapshot, "SETTLING_SECONDS", 0.1)
    changes = ChangeSet(datetime.now(UTC))
    resource = {"resourceType": name, "status": "final", "code": {"text": "x"}}
    if name == "Basic":
        del resource["status"]
    changes.create(resource, id="late")
    store = server.applications[service].state.engine.store
    async with store.pool.connection() as connection, connection.transaction():
        await commit(connection, changes)
        status = await kick_off(server.fhir, f"$export?_type={name}")
        answer = await server.fhir.get(status)
        assert (answer.status_code, bool(answer.headers["x-progress"])) == (202, True)
    assert f"{name}/late" in await exported(server.fhir, status)


async def test_what_takes_long_is_stored_with_the_time_of_its_commit(
    server: FhirServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "STAMP_FRESH", timedelta(milliseconds=5))
    began: list[datetime] = []

    async def stage(context: Context) -> str:
        began.append(context.now)
        id = context.changes.create({"resourceType": "Basic", "code": {"text": "x"}})
        await until(lambda: datetime.now(UTC) - context.now > timedelta(milliseconds=20))
        return id

    engine = server.applications["intake"].state.engine
    stored = await engine.store.read("Basic", await engine.perform(Origin(), stage))
    assert stored.last_updated > began[0]
    assert stored.tree["meta"]["lastUpdated"] == instant(stored.last_updated)


async def test_without_one_service_the_export_waits_rather_than_lacks_its_types(server: FhirServer) -> None:
    status = await kick_off(server.fhir)
    server.away.add("outcomes")
    answer = await server.fhir.get(status)
    assert answer.status_code == 202
    assert "outcomes" in answer.headers["x-progress"]
    assert int(answer.headers["retry-after"]) > 0
    server.away.clear()
    assert set(await exported(server.fhir, status)) == references(*SEED)


async def test_a_restarted_server_goes_on_with_the_export(database: Callable[..., str]) -> None:
    urls: dict[Any, str] = {}

    def kept(*folders: Path) -> str:
        return urls.setdefault(folders, database(*folders))

    async with fhir_server(kept, export_settle_seconds=0) as before:
        for resource in SEED:
            await put(before.fhir, resource)
        status = await kick_off(before.fhir)
    async with fhir_server(kept, export_settle_seconds=0) as after:
        assert set(await exported(after.fhir, status)) == references(*SEED)


async def test_a_deleted_export_is_gone_with_its_files(server: FhirServer) -> None:
    status = await kick_off(server.fhir)
    file = (await manifest_of(server.fhir, status))["output"][0]["url"]
    assert (await server.fhir.delete(status)).status_code == 202
    for url in (status, file, f"{status}/remarks"):
        assert (await server.fhir.get(url)).status_code == 404
    assert (await server.fhir.delete(status)).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("$export?colour=red", 400),
        ("$export?_outputFormat=csv", 400),
        ("$export?_type=Banana", 400),
        ("$export?_since=yesterday", 400),
        ("$export/none", 404),
        ("$export/00000000-0000-0000-0000-000000000000", 404),
        ("Basic/$export/00000000-0000-0000-0000-000000000000", 404),
        ("Observation/$export", 404),
        ("Group/g/$export", 404),
    ],
)
async def test_what_cannot_be_answered_is_refused(server: FhirServer, path: str, status: int) -> None:
    answer = await server.fhir.get(path)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


async def test_a_lenient_client_is_told_what_was_ignored(server: FhirServer) -> None:
    headers = {"prefer": "respond-async, handling=lenient"}
    answer = await server.fhir.get("$export?_typeFilter=Basic%3Fcode%3Dx", headers=headers)
    manifest = await manifest_of(server.fhir, answer.headers["content-location"])
    remarks = await lines_of(server.fhir, manifest["error"][0]["url"])
    assert "_typeFilter" in remarks[0]["issue"][0]["diagnostics"]


async def test_an_ignored_parameter_with_a_nul_character_is_refused(server: FhirServer) -> None:
    answer = await server.fhir.get("$export?a%00b=1", headers={"prefer": "handling=lenient"})
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


async def test_scopes_bound_an_export_and_it_is_its_clients_alone(
    database: Callable[..., str], tmp_path: Path
) -> None:
    authorization = authorization_server(tmp_path)
    settings = protected_settings(authorization)
    async with fhir_server(database, export_settle_seconds=0, **settings) as server:
        fhir = server.fhir
        fhir.headers.update(bearer(authorization, "system/*.cruds"))
        for resource in SEED:
            await put(fhir, resource)
        fhir.headers.update(bearer(authorization, "system/Patient.rs system/Observation.rs system/Basic.r"))
        status = await kick_off(fhir)
        manifest = await manifest_of(fhir, status)
        assert manifest["requiresAccessToken"] is True
        assert set(await exported(fhir, status)) == {"Patient/p", "Observation/v"}
        remarks = await lines_of(fhir, manifest["error"][0]["url"])
        assert "Location" in remarks[0]["issue"][0]["diagnostics"]
        assert (await fhir.get("$export?_type=Location")).status_code == 403
        file = manifest["output"][0]["url"]
        fhir.headers.update(bearer(authorization, "system/*.rs", client_id="other"))
        assert [(await fhir.get(url)).status_code for url in (status, file)] == [404, 404]
        assert (await fhir.delete(status)).status_code == 404
        observations = f"{BASE}/Observation/$export/{status.rpartition('/')[2]}"
        for scopes in ("system/Observation.r", "system/Observation.s", "system/Patient.rs"):
            fhir.headers.update(bearer(authorization, scopes))
            refused = [(await fhir.get(url)).status_code for url in (observations, status)]
            assert refused == [403, 403], "a token that may less gets nothing of what one before was promised"
        fhir.headers.update(bearer(authorization, "system/Observation.rs"))
        assert (await fhir.get(observations)).status_code == 200
        fhir.headers.update(bearer(authorization, "system/Patient.c"))
        assert (await fhir.get("$export")).status_code == 403
        assert (await fhir.get(file)).status_code == 403
        del fhir.headers["authorization"]
        assert [(await fhir.get(url)).status_code for url in ("$export", status, file)] == [401] * 3
