"""Judges a resource, valid in base R4 already, against kanwa's profiles."""

from collections.abc import Iterator
from typing import Any, Final, cast

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import invariants, references
from kanwa_shared.fhir.validation.definitions import Member, Part, part
from kanwa_shared.fhir.validation.scope import Scope
from kanwa_shared.profiles import terminology
from kanwa_shared.profiles.published import CANONICAL_BASE, profiles_of
from kanwa_shared.profiles.structure import Profile, Rule, profile

_SHOWN_CODES: Final = 20


def claimed_faults(tree: Tree) -> list[Issue]:
    """What a resource lacks of the kanwa profiles that its meta.profile claims; of a Bundle, those of its entries.

    Claims of other publishers' profiles are theirs to judge. `tree` is valid R4.
    """
    if tree["resourceType"] == "Bundle":
        return [
            issue
            for position, entry in enumerate(tree.get("entry", ()))
            if "resource" in entry
            for issue in _below(claimed_faults(entry["resource"]), f"Bundle.entry[{position}].resource")
        ]
    claims: list[str | None] = tree.get("meta", {}).get("profile", [])
    return [
        issue
        for claim in claims
        if claim is not None and claim.startswith(CANONICAL_BASE)  # null: a claim that only has extensions
        for issue in validate_profile(tree, claim)
    ]


def validate_profile(tree: Tree, url: str) -> list[Issue]:
    """All faults of a resource against one of kanwa's profiles, each with its FHIRPath; empty when it conforms.

    `tree` is valid R4 (`fhir.validation.validate` found nothing); `url` may end in `|version`. A profile that kanwa
    does not publish in that version is an issue too, code `not-found`.
    """
    canonical, _, version = url.partition("|")
    found = profile(canonical)
    resource_type = str(tree["resourceType"])
    place = f"{resource_type}.meta.profile"
    if found is None or version not in ("", found.version):
        known = ", ".join(profiles_of(resource_type)) or "none"
        return [
            Issue(
                "not-found",
                f"{place}: kanwa publishes no profile {url}; of {resource_type}: {known}.",
                (place,),
            )
        ]
    if found.resource_type != resource_type:
        return [Issue("invalid", f"{place}: {url} is a profile of {found.resource_type}.", (place,))]
    return list(_Judge(found, tree).issues())


class _Judge:
    """One resource against one profile."""

    def __init__(self, profile: Profile, tree: Tree):
        self._profile = profile
        self._tree = tree
        self._scope = Scope(tree)

    def issues(self) -> Iterator[Issue]:
        name = self._profile.resource_type
        yield from self._object(self._tree, self._profile.root, part(name), name)

    def _issue(self, code: str, path: str, message: str) -> Issue:
        return Issue(code, f"{path}: {message} (profile {self._profile.url})", (path,))

    def _object(self, node: Tree, rule: Rule, kind: Part, path: str) -> Iterator[Issue]:
        for constraint in rule.constraints:
            if not invariants.holds(constraint, node, self._scope):
                yield self._issue("invariant", path, f"{constraint.human} ({constraint.key})")
        for name, child in rule.children.items():
            yield from self._element(node, name, child, kind, path)

    def _element(self, node: Tree, name: str, rule: Rule, kind: Part, path: str) -> Iterator[Issue]:
        place = f"{path}.{name}"
        found = _values(node, name, kind, place)
        yield from self._count(len(found), rule, place)
        for member, value, at in found:
            yield from self._value(member, value, rule, at)
        for slice_name, slice_rule in rule.slices.items():
            of_slice = [each for each in found if _is_of(each[1], slice_rule, rule.discriminators)]
            yield from self._count(len(of_slice), slice_rule, place, f"of slice {slice_name} ")
            for member, value, at in of_slice:
                yield from self._value(member, value, slice_rule, at)

    def _count(self, number: int, rule: Rule, place: str, which: str = "") -> Iterator[Issue]:
        if number < rule.minimum:
            wanted = "required" if rule.minimum == 1 else f"{rule.minimum} required"
            yield self._issue("required", place, f"{which}{wanted}, found {number or 'none'}")
        elif number > rule.maximum:
            yield self._issue("structure", place, f"{which}at most {rule.maximum:g}, found {number}")

    def _value(self, member: Member, value: Any, rule: Rule, path: str) -> Iterator[Issue]:
        if rule.types is not None and member.type_name not in rule.types:
            allowed = ", ".join(sorted(rule.types))
            yield self._issue("structure", path, f"expected {allowed}, found {member.type_name}")
            return
        if rule.value is not None and not (
            value == rule.value if rule.exact else _matches(value, rule.value)
        ):
            yield self._issue("value", path, f"expected {_shown(rule.value)}")
        if rule.value_set is not None and not _is_coded(value, rule.value_set):
            yield self._issue(
                "code-invalid", path, f"expected a code of {rule.value_set}: {_listed(rule.value_set)}"
            )
        if not isinstance(value, dict):
            return
        if rule.targets is not None and member.type_name == "Reference":
            for code, problem in references.problems(cast("Tree", value), rule.targets, self._scope):
                yield self._issue(code, path, problem.rstrip("."))
        yield from self._object(cast("Tree", value), rule, member.part, path)


def _values(node: Tree, name: str, kind: Part, place: str) -> list[tuple[Member, Any, str]]:
    """The values of an element under any of its types, each with its FHIRPath; what only has extensions as None."""
    found: list[tuple[Member, Any, str]] = []
    for key in node:
        member = kind.members.get(key.removeprefix("_"))
        if member is None or member.element != name or (key[:1] == "_" and key[1:] in node):
            continue
        value = node[key] if key[:1] != "_" else None
        if isinstance(value, list):
            found += [(member, each, f"{place}[{n}]") for n, each in enumerate(cast("list[Any]", value))]
        else:
            found.append((member, value, place))
    return found


def _is_of(value: Any, rule: Rule, discriminators: tuple[str, ...]) -> bool:
    """Whether an element belongs to a slice: each discriminating child has the slice's value or pattern."""
    return isinstance(value, dict) and all(
        _matches(cast("Tree", value).get(path), rule.children[path].value) for path in discriminators
    )


def _matches(value: Any, pattern: Any) -> bool:
    """Whether the value has all that the pattern has; of an array's items, each somewhere."""
    if isinstance(pattern, dict):
        if not isinstance(value, dict):
            return False
        members = cast("Tree", value)
        return all(_matches(members.get(name), wanted) for name, wanted in cast("Tree", pattern).items())
    if isinstance(pattern, list):
        items = cast("list[Any]", value) if isinstance(value, list) else []
        return all(any(_matches(item, wanted) for item in items) for wanted in cast("list[Any]", pattern))
    return value == pattern and isinstance(value, bool) == isinstance(pattern, bool)


def _is_coded(value: Any, value_set: str) -> bool:
    """Whether a CodeableConcept has a coding of the value set."""
    codings = cast("Tree", value).get("coding", ()) if isinstance(value, dict) else ()
    codes = terminology.codes_in(value_set)
    return any(coding.get("code") in codes.get(str(coding.get("system")), ()) for coding in codings)


def _listed(value_set: str) -> str:
    codes = [code for members in terminology.codes_in(value_set).values() for code in sorted(members)]
    return ", ".join(codes[:_SHOWN_CODES]) + (", …" if len(codes) > _SHOWN_CODES else "")


def _shown(value: Any) -> str:
    """A fixed value or pattern in words: codings as `system|code`."""
    if isinstance(value, dict) and "coding" in value:
        codings = cast("list[Tree]", value["coding"])
        return ", ".join(f"{coding['system']}|{coding['code']}" for coding in codings)
    return f"'{value}'"


def _below(issues: list[Issue], path: str) -> Iterator[Issue]:
    """The issues of an entry's resource with the FHIRPaths of its Bundle."""
    for issue in issues:
        inside = tuple(
            path + place[place.index(".") :] if "." in place else path for place in issue.expression
        )
        yield Issue(issue.code, issue.diagnostics, inside, issue.severity)
