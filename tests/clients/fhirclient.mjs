// fhirclient (npm, the SMART client): node fhirclient.mjs http://127.0.0.1:8080/fhir
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import smart from "fhirclient";

const client = new smart.FhirClient(process.argv[2]);
const named = (family, more = {}) => ({ resourceType: "Patient", name: [{ family }], ...more });
const status = (error) => error.status ?? error.statusCode ?? error.response?.status;

const flows = {
  async metadata() {
    assert.equal(await client.getFhirVersion(), "4.0.1");
    assert.equal(await client.getFhirRelease(), 4);
  },
  async create_read_update_delete(mark) {
    const made = await client.create(named(mark));
    assert.ok(made.id);
    const read = await client.fhirRequest(`Patient/${made.id}`);
    assert.equal(read.name[0].family, mark);
    const updated = await client.update({ ...read, active: true });
    assert.equal(updated.meta.versionId, "2");
    await client.delete(`Patient/${made.id}`);
    await assert.rejects(client.fhirRequest(`Patient/${made.id}`), (gone) => status(gone) === 410);
  },
  async search_and_page(mark) {
    for (let number = 0; number < 5; number++) await client.create(named(mark));
    const seen = [];
    for await (const resource of client.resources(`Patient?family=${mark}&_count=2`)) seen.push(resource.id);
    assert.equal(new Set(seen).size, 5);
    let pages = 0;
    for await (const page of client.pages(`Patient?family=${mark}&_count=2`)) pages += page.entry.length > 0;
    assert.equal(pages, 3);
  },
  async references(mark) {
    const patient = await client.create(named(mark));
    const condition = await client.create({
      resourceType: "Condition", subject: { reference: `Patient/${patient.id}` },
    });
    const found = await client.getReferences(condition, ["subject"]);
    assert.equal(found[`Patient/${patient.id}`].name[0].family, mark);
  },
  async history(mark) {
    const made = await client.create(named(mark));
    await client.update({ ...made, active: true });
    const versions = await client.fhirRequest(`Patient/${made.id}/_history`);
    assert.deepEqual(versions.entry.map((entry) => entry.resource.meta.versionId), ["2", "1"]);
  },
  async conditional(mark) {
    const body = named(mark, { identifier: [{ system: "http://hospital.example/mrn", value: mark }] });
    const headers = { "If-None-Exist": `identifier=http://hospital.example/mrn|${mark}` };
    const first = await client.create(body, { headers });
    assert.equal((await client.create(body, { headers })).id, first.id);
  },
  async patch(mark) {
    const made = await client.create(named(mark));
    const patched = await client.patch(`Patient/${made.id}`, [{ op: "add", path: "/gender", value: "female" }]);
    assert.deepEqual([patched.gender, patched.name[0].family], ["female", mark]);
  },
  async transaction(mark) {
    const fullUrl = `urn:uuid:${randomUUID()}`;
    const entry = [
      { fullUrl, resource: named(mark), request: { method: "POST", url: "Patient" } },
      {
        resource: { resourceType: "Condition", subject: { reference: fullUrl } },
        request: { method: "POST", url: "Condition" },
      },
    ];
    const body = JSON.stringify({ resourceType: "Bundle", type: "transaction", entry });
    const headers = { "content-type": "application/json" };
    const done = await client.fhirRequest("", { method: "POST", body, headers });
    assert.deepEqual(done.entry.map((each) => each.response.status), ["201 Created", "201 Created"]);
  },
  async errors(mark) {
    await assert.rejects(client.fhirRequest("Patient/none"), (error) => status(error) === 404);
    await assert.rejects(client.create({ resourceType: "Patient", gender: mark }), (error) => status(error) === 400);
  },
};

for (const [name, flow] of Object.entries(flows)) {
  await flow(name.replaceAll("_", "") + randomUUID().slice(0, 8));
  console.log(`fhirclient (npm): ${name}`);
}
