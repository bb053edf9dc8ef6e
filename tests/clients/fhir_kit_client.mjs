// fhir-kit-client (npm): node fhir_kit_client.mjs http://127.0.0.1:8080/fhir
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Client } from "fhir-kit-client";

const client = new Client({ baseUrl: process.argv[2] });
const SYSTEM = "http://hospital.example/mrn";
const named = (family, more = {}) => ({ resourceType: "Patient", name: [{ family }], ...more });
const create = (body, options) => client.create({ resourceType: body.resourceType, body, options });
const status = (error) => error.response?.status ?? error.status;

const flows = {
  async metadata() {
    assert.equal((await client.capabilityStatement()).fhirVersion, "4.0.1");
    await client.smartAuthMetadata();
  },
  async create_read_update_delete(mark) {
    const made = await create(named(mark));
    const read = await client.read({ resourceType: "Patient", id: made.id });
    assert.deepEqual(read, made);
    const body = { ...read, active: true };
    const updated = await client.update({ resourceType: "Patient", id: made.id, body });
    assert.equal(updated.meta.versionId, "2");
    assert.equal((await client.vread({ resourceType: "Patient", id: made.id, version: "1" })).active, undefined);
    await client.delete({ resourceType: "Patient", id: made.id });
    await assert.rejects(client.read({ resourceType: "Patient", id: made.id }), (gone) => status(gone) === 410);
  },
  async search_and_page(mark) {
    for (let number = 0; number < 5; number++) await create(named(mark, { active: number % 2 === 0 }));
    const searchParams = { family: mark, _count: 2 };
    const seen = [];
    let bundle = await client.search({ resourceType: "Patient", searchParams });
    assert.equal(bundle.total, 5);
    while (bundle) {
      seen.push(...(bundle.entry ?? []).map((entry) => entry.resource.id));
      bundle = await client.nextPage({ bundle });
    }
    assert.equal(new Set(seen).size, 5);
    const posted = await client.search({
      resourceType: "Patient", searchParams: { family: mark, active: "true" }, options: { postSearch: true },
    });
    assert.equal(posted.total, 3);
  },
  async history(mark) {
    const made = await create(named(mark));
    await client.update({ resourceType: "Patient", id: made.id, body: { ...made, active: true } });
    const own = await client.history({ resourceType: "Patient", id: made.id });
    assert.deepEqual(own.entry.map((entry) => entry.resource.meta.versionId), ["2", "1"]);
    const ofType = await client.history({ resourceType: "Patient" });
    assert.equal(ofType.entry[0].resource.id, made.id);
    assert.equal((await client.history()).type, "history");
  },
  async conditional(mark) {
    const body = named(mark, { identifier: [{ system: SYSTEM, value: mark }] });
    const options = { headers: { "If-None-Exist": `identifier=${SYSTEM}|${mark}` } };
    const first = await create(body, options);
    assert.equal((await create(body, options)).id, first.id);
    const searchParams = { identifier: `${SYSTEM}|${mark}` };
    const updated = await client.update({ resourceType: "Patient", searchParams, body: { ...body, active: true } });
    assert.deepEqual([updated.id, updated.active], [first.id, true]);
  },
  async patch(mark) {
    const made = await create(named(mark));
    const jsonPatch = [{ op: "add", path: "/gender", value: "female" }];
    const patched = await client.patch({ resourceType: "Patient", id: made.id, jsonPatch });
    assert.deepEqual([patched.gender, patched.name[0].family], ["female", mark]);
  },
  async transaction_and_batch(mark) {
    const fullUrl = `urn:uuid:${randomUUID()}`;
    const condition = { resourceType: "Condition", subject: { reference: fullUrl } };
    const entry = [
      { fullUrl, resource: named(mark), request: { method: "POST", url: "Patient" } },
      { resource: condition, request: { method: "POST", url: "Condition" } },
    ];
    const done = await client.transaction({ body: { resourceType: "Bundle", type: "transaction", entry } });
    assert.deepEqual(done.entry.map((each) => each.response.status), ["201 Created", "201 Created"]);
    const reads = [{ request: { method: "GET", url: `Patient?family=${mark}` } }];
    const read = await client.batch({ body: { resourceType: "Bundle", type: "batch", entry: reads } });
    assert.equal(read.entry[0].resource.total, 1);
  },
  async operations(mark) {
    const made = await create(named(mark));
    const input = named(mark);
    const judged = await client.operation({ name: "validate", resourceType: "Patient", input });
    assert.equal(judged.issue[0].severity, "information");
    const call = { name: "everything", resourceType: "Patient", id: made.id, method: "GET" };
    assert.equal((await client.operation(call)).entry[0].resource.id, made.id);
  },
  async errors(mark) {
    await assert.rejects(client.read({ resourceType: "Patient", id: "none" }), (error) => status(error) === 404);
    await assert.rejects(create({ resourceType: "Patient", gender: mark }), (error) => status(error) === 400);
  },
};

for (const [name, flow] of Object.entries(flows)) {
  await flow(name.replaceAll("_", "") + randomUUID().slice(0, 8));
  console.log(`fhir-kit-client: ${name}`);
}
