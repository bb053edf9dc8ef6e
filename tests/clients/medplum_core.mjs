// @medplum/core (npm): node medplum_core.mjs http://127.0.0.1:8080/fhir
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { MedplumClient, OperationOutcomeError } from "@medplum/core";

const base = new URL(process.argv[2]);
const medplum = new MedplumClient({ baseUrl: `${base.origin}/`, fhirUrlPath: base.pathname.slice(1), cacheTime: 0 });
const SYSTEM = "http://hospital.example/mrn";
const named = (family, more = {}) => ({ resourceType: "Patient", name: [{ family }], ...more });
const refused = (code) => (error) =>
  error instanceof OperationOutcomeError && error.outcome.issue.some((issue) => issue.code === code);

const flows = {
  async create_read_update_delete(mark) {
    const made = await medplum.createResource(named(mark));
    const read = await medplum.readResource("Patient", made.id, { cache: "reload" });
    assert.equal(read.name[0].family, mark);
    const updated = await medplum.updateResource({ ...read, active: true });
    assert.equal(updated.meta.versionId, "2");
    assert.equal((await medplum.readVersion("Patient", made.id, "1")).active, undefined);
    await medplum.deleteResource("Patient", made.id);
    await assert.rejects(medplum.readResource("Patient", made.id, { cache: "reload" }), refused("deleted"));
  },
  async search_and_page(mark) {
    for (let number = 0; number < 5; number++) await medplum.createResource(named(mark));
    const bundle = await medplum.search("Patient", `family=${mark}&_count=2&_total=accurate`);
    assert.deepEqual([bundle.total, bundle.entry.length], [5, 2]);
    const seen = [];
    for await (const page of medplum.searchResourcePages("Patient", `family=${mark}&_count=2`)) {
      seen.push(...page.map((one) => one.id));
    }
    assert.equal(new Set(seen).size, 5);
    assert.equal((await medplum.searchOne("Patient", `family=${mark}&_sort=-_lastUpdated`)).name[0].family, mark);
  },
  async history(mark) {
    const made = await medplum.createResource(named(mark));
    await medplum.updateResource({ ...made, active: true });
    const versions = await medplum.readHistory("Patient", made.id);
    assert.deepEqual(versions.entry.map((entry) => entry.resource.meta.versionId), ["2", "1"]);
  },
  async conditional(mark) {
    const body = named(mark, { identifier: [{ system: SYSTEM, value: mark }] });
    const query = `identifier=${SYSTEM}|${mark}`;
    const first = await medplum.createResourceIfNoneExist(body, query);
    assert.equal((await medplum.createResourceIfNoneExist(body, query)).id, first.id);
    const upserted = await medplum.upsertResource({ ...body, active: true }, query);
    assert.deepEqual([upserted.id, upserted.active], [first.id, true]);
  },
  async patch(mark) {
    const made = await medplum.createResource(named(mark));
    const patched = await medplum.patchResource("Patient", made.id, [
      { op: "test", path: "/meta/versionId", value: made.meta.versionId },
      { op: "add", path: "/gender", value: "female" },
    ]);
    assert.deepEqual([patched.gender, patched.name[0].family], ["female", mark]);
  },
  async batches(mark) {
    const fullUrl = `urn:uuid:${randomUUID()}`;
    const condition = { resourceType: "Condition", subject: { reference: fullUrl } };
    const entry = [
      { fullUrl, resource: named(mark), request: { method: "POST", url: "Patient" } },
      { resource: condition, request: { method: "POST", url: "Condition" } },
    ];
    const done = await medplum.executeBatch({ resourceType: "Bundle", type: "transaction", entry });
    assert.ok(done.entry.every((each) => each.response.status.startsWith("201")));
    const at = { baseUrl: `${base.origin}/`, fhirUrlPath: base.pathname.slice(1), cacheTime: 0, autoBatchTime: 10 };
    const batching = new MedplumClient(at);
    const ids = done.entry.map((each) => each.resource);
    const read = await Promise.all(ids.map((one) => batching.readResource(one.resourceType, one.id)));
    assert.deepEqual(read.map((one) => one.id), ids.map((one) => one.id));
  },
  async operations(mark) {
    const made = await medplum.createResource(named(mark));
    const judged = await medplum.validateResource(named(mark));
    assert.equal(judged.issue[0].severity, "information");
    const record = await medplum.readPatientEverything(made.id);
    assert.equal(record.entry[0].resource.id, made.id);
  },
  async errors(mark) {
    await assert.rejects(medplum.readResource("Patient", "none"), refused("not-found"));
    await assert.rejects(medplum.createResource({ resourceType: "Patient", gender: mark }), OperationOutcomeError);
  },
};

for (const [name, flow] of Object.entries(flows)) {
  await flow(name.replaceAll("_", "") + randomUUID().slice(0, 8));
  console.log(`@medplum/core: ${name}`);
}
