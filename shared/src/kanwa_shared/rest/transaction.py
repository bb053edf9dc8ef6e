"""batch and transaction: `POST [base]`. See https://hl7.org/fhir/R4/http.html#transaction.

A transaction is one commit in this service. Entries of types that another service owns are handed over in the
same commit, and the answer waits a bounded time until their owners have written them.
"""

from typing import Any, Final, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import BusinessRule, DomainError, Invalid, Issue
from kanwa_shared.fhir.bundle import Entry, bundle, instant
from kanwa_shared.fhir.http import check_content_type, etag, patch_media_type, precondition, preferences
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.outcome import outcome_tree
from kanwa_shared.fhir.patching import Patch, binary_content, patch_of, read_patch
from kanwa_shared.ownership import owner_of
from kanwa_shared.rest.batch import perform_over_http, respond_to_batch
from kanwa_shared.rest.bundle_entries import METHODS, WRITES, BundleEntry, point_references, read_entries
from kanwa_shared.rest.conditional import caller_of
from kanwa_shared.rest.delete import stage_deletion
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.fixed import check_not_fixed
from kanwa_shared.rest.owners_copies import Awaited, Key, await_copies
from kanwa_shared.rest.patch import existing, may_be_shown, patched
from kanwa_shared.rest.precondition import check_precondition
from kanwa_shared.rest.responses import base_url_of, done, engine_of, fhir_response, negotiate, origin_of
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.rest.transaction_targets import Targets, inside, resolve, tree_of
from kanwa_shared.rest.update import check_found_or_free, put_next
from kanwa_shared.security.access import check_entry
from kanwa_shared.security.caller import Caller
from kanwa_shared.store.stored import StoredResource

_INTERACTIONS: Final[dict[str, Any]] = {"POST": "create", "PUT": "update", "DELETE": "delete"}


async def transaction(request: Request) -> Response:
    """200 with a response Bundle; a transaction is all or nothing, a batch entry by entry."""
    engine = engine_of(request)
    negotiate(request)
    check_content_type(request.headers.get("content-type", ""))
    body = await request.body()
    tree = parse(body, max_depth=engine.settings.max_json_depth)
    entries: Any = tree.get("entry", [])
    if isinstance(entries, list) and len(cast("list[Any]", entries)) > engine.settings.max_bundle_entries:
        raise BusinessRule(
            f"the Bundle has more than {engine.settings.max_bundle_entries} entries; send several",
            expression="Bundle.entry",
            code="too-long",
        )
    if tree.get("resourceType") == "Bundle" and tree.get("type") == "batch":
        # Each entry is a request of its own, and asked as such.
        return await respond_to_batch(request, tree)
    tree = await engine.read_body("Bundle", body)
    if tree.get("type") != "transaction":
        raise Invalid(
            f"a Bundle of type '{tree.get('type')}' cannot be processed here; send batch or transaction, "
            "or store it with POST /Bundle",
            expression="Bundle.type",
            code="value",
        )
    base = base_url_of(request)
    read = read_entries(tree, base)
    _check_scopes(caller_of(request), read)
    return await Transaction(request, engine, body, read, base).respond()


def _check_scopes(caller: Caller | None, entries: list[BundleEntry]) -> None:
    """Raise InsufficientScope for the first write that the caller may not do; reads are asked about later."""
    for entry in entries:
        if entry.method in WRITES:
            check_entry(caller, entry.method, entry.target, conditional=bool(entry.if_none_exist))


class Transaction:
    """One transaction Bundle on its way through the engine."""

    def __init__(self, request: Request, engine: Engine, body: bytes, entries: list[BundleEntry], base: str):
        self.request = request
        self.engine = engine
        self.body = body
        self.base = base
        self.rounds = 0
        self.targets = Targets()
        self.awaited: dict[Key, Awaited] = {}
        self._take(entries)

    def _take(self, entries: list[BundleEntry]) -> None:
        self.entries = entries
        self.writes = sorted(
            (entry for entry in entries if entry.method in WRITES),
            key=lambda entry: METHODS.index(entry.method),
        )

    async def respond(self) -> Response:
        """Write everything, wait for the owners, then answer the reads."""
        self._refuse_what_cannot_be_promised()
        context = await self.engine.perform(origin_of(self.request), self._stage)
        confirmed = await await_copies(
            self.engine.store, self.awaited, seconds=self.engine.settings.handover_wait_seconds
        )
        answers = [await self._answer(entry, context, confirmed) for entry in self.entries]
        return fhir_response(200, bundle("transaction-response", answers))

    def _refuse_what_cannot_be_promised(self) -> None:
        issues: list[Issue] = []
        for entry in self.entries:
            if entry.method == "POST" and "$" in entry.url:
                text = f"{entry.url}: an operation is not served in a transaction; call it on its own or in a batch"
                issues.append(Issue("not-supported", text, (f"{entry.path}.request.url",)))
            elif self._is_foreign(entry) and (entry.conditions or entry.searches or entry.method == "PATCH"):
                text = (
                    f"{entry.resource_type} belongs to another service, which can neither check a condition nor apply "
                    "a patch inside this transaction; send the entry on its own"
                )
                issues.append(Issue("not-supported", text, (f"{entry.path}.request",)))
        if issues:
            raise BusinessRule(issues)

    def _is_foreign(self, entry: BundleEntry) -> bool:
        return entry.method in WRITES and owner_of(entry.resource_type) != self.engine.definition.name

    async def _stage(self, context: Context) -> Context:
        """Gather every write first, so that rules see the whole Bundle, then run the rules."""
        self.rounds += 1
        if self.rounds > 1:
            # Somebody wrote what the last round had read: what it resolved may be another resource by now.
            self._take(
                read_entries(parse(self.body, max_depth=self.engine.settings.max_json_depth), self.base)
            )
        self.targets = await resolve(self.engine, context, self.writes, caller_of(self.request))
        await self._hand_over([entry for entry in self.writes if self._is_foreign(entry)], context)
        requests: list[tuple[BundleEntry, WriteRequest]] = []
        for entry in self.writes:
            if self._is_foreign(entry) or entry.position in self.targets.existing:
                continue
            try:
                request = await self._write(entry, context)
            except DomainError as error:
                raise type(error)([inside(issue, entry) for issue in error.issues]) from error
            if request is not None:
                requests.append((entry, request))
        for entry, request in requests:
            try:
                await self.engine.apply_rules(request, context)
            except DomainError as error:
                raise type(error)([inside(issue, entry) for issue in error.issues]) from error
        return context

    async def _write(self, entry: BundleEntry, context: Context) -> WriteRequest | None:
        """Add the entry's write to the change set; None for a deletion, which its rules have seen already."""
        if entry.id is None:  # a conditional deletion that found nothing
            return None
        resource_type, id = entry.resource_type, entry.id
        if entry.method == "POST":
            tree = tree_of(entry)
            context.changes.create(tree, id=id)
            return WriteRequest("create", resource_type, id, tree, None)
        check_not_fixed(self.engine, resource_type, id)
        current = self.targets.found.get(entry.position) or await self.engine.store.get(resource_type, id)
        asked = precondition(entry.conditions.get("if-match"), entry.conditions.get("if-none-match"))
        if entry.method == "PUT":
            if entry.position in self.targets.found:
                check_found_or_free(current, self.targets.found[entry.position])
            return put_next(context, current, {**tree_of(entry), "id": id}, id, None, asked)
        if entry.method == "DELETE":
            check_precondition(current, resource_type, id, asked)
            if current is not None:
                await stage_deletion(self.engine, context, current)
            return None
        before = existing(current, resource_type, id)
        tree, _ = await patched(self.engine, before, self._patch(entry))
        point_references(tree, self.targets.references)
        return put_next(context, before, tree, id, None, asked)

    def _patch(self, entry: BundleEntry) -> Patch:
        resource = tree_of(entry)
        if resource.get("resourceType") == "Parameters":
            return patch_of(resource)
        content, media_type = binary_content(resource, at="resource")
        return read_patch(
            content, patch_media_type(media_type), max_depth=self.engine.settings.max_json_depth
        )

    async def _hand_over(self, entries: list[BundleEntry], context: Context) -> None:
        keys = [(entry.resource_type, entry.id or "") for entry in entries]
        updated = [key for key, entry in zip(keys, entries, strict=True) if entry.method != "POST"]
        before = await self.engine.store.get_many(updated)
        self.awaited = {}
        for key, entry in zip(keys, entries, strict=True):
            context.changes.hand_over(tree_of(entry), id=key[1], interaction=_INTERACTIONS[entry.method])
            tree = entry.resource if entry.method != "DELETE" else None
            self.awaited[key] = Awaited(before.get(key), tree, new=entry.method == "POST")

    async def _answer(
        self, entry: BundleEntry, context: Context, confirmed: dict[Key, StoredResource]
    ) -> Entry:
        if entry.method not in WRITES:
            return await perform_over_http(self.request, entry)
        if entry.position in self.targets.existing:
            return self._written("200 OK", self.targets.existing[entry.position])
        key = (entry.resource_type, entry.id or "")
        written = context.changes.stored(*key) or confirmed.get(key)
        if written is not None:
            unchanged = key in self.awaited and self.awaited[key].changes_nothing
            created = written.interaction == "create" and not unchanged
            status = "204 No Content" if written.deleted else "201 Created" if created else "200 OK"
            shown = entry.method != "PATCH" or may_be_shown(caller_of(self.request), entry.resource_type)
            return self._written(status, written, shown=shown)
        if key in self.awaited and self.awaited[key].worth_waiting:
            return self._promised(entry, context)
        return {"response": {"status": "204 No Content"}}  # there was nothing to delete

    def _written(self, status: str, resource: StoredResource, *, shown: bool = True) -> Entry:
        returns = preferences(self.request.headers.get("prefer", "")).returns
        response: Entry = {
            "status": status,
            "location": f"{self.base}/{resource.reference}/_history/{resource.version}",
            "etag": etag(resource.version),
            "lastModified": instant(resource.last_updated),
        }
        answer: Entry = {"fullUrl": f"{self.base}/{resource.reference}", "response": response}
        if returns == "OperationOutcome":
            response["outcome"] = outcome_tree([done(resource)])
        if returns == "representation" and shown and resource.body is not None:
            answer["resource"] = msgspec.Raw(resource.body)
        return answer

    def _promised(self, entry: BundleEntry, context: Context) -> Entry:
        """The owner has not confirmed yet; the commit holds the promise, and delivery goes on."""
        status = {"POST": "201 Created", "PUT": "200 OK", "DELETE": "204 No Content"}[entry.method]
        issue = Issue(
            "informational",
            f"{entry.resource_type}/{entry.id} is on its way to the service that owns it",
            severity="information",
        )
        location = f"{self.base}/{entry.resource_type}/{entry.id}/_history/1"
        response: Entry = {"status": status, "outcome": outcome_tree([issue])}
        if entry.method == "POST":
            response |= {"location": location, "etag": etag(1), "lastModified": instant(context.now)}
        return {"fullUrl": f"{self.base}/{entry.resource_type}/{entry.id}", "response": response}
