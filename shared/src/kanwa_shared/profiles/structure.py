"""A profile's differential as a tree of what it asks of each element.

Read are cardinality, types and targets, fixed and pattern values, required bindings, constraints of severity error,
and slices told apart by a value or pattern of a child. A profile of ours that uses more is refused when it is read,
so that nothing in it goes unjudged.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.definitions import Invariant
from kanwa_shared.profiles.published import by_url

_CORE: Final = "http://hl7.org/fhir/StructureDefinition/"
# What an element of a differential may have beside its value rules; none of it asks anything of an instance.
_DESCRIBES: Final = frozenset({"id", "path", "short", "definition", "comment", "mustSupport", "sliceName"})
_ASKS: Final = frozenset({"min", "max", "type", "binding", "constraint", "slicing"})


class UnsupportedProfile(ValueError):
    """A differential asks something that is not judged here."""


@dataclass(slots=True)
class Rule:
    """What a profile asks of the elements of one name, or of those of one slice.

    `types` and `targets` are None where the base's own hold; `value` is a fixed value or pattern.
    """

    minimum: int = 0
    maximum: float = float("inf")
    types: frozenset[str] | None = None
    targets: frozenset[str] | None = None
    value: Any = None
    exact: bool = False
    value_set: str | None = None
    constraints: tuple[Invariant, ...] = ()
    discriminators: tuple[str, ...] = ()
    children: dict[str, "Rule"] = field(default_factory=dict[str, "Rule"])
    slices: dict[str, "Rule"] = field(default_factory=dict[str, "Rule"])


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: the resource type it is of, and what it asks from the root down."""

    url: str
    version: str
    resource_type: str
    root: Rule


@cache
def profile(url: str) -> Profile | None:
    """The profile of a canonical URL without version; None if kanwa publishes none."""
    definition = by_url().get(url)
    return None if definition is None else read_profile(definition)


def read_profile(definition: Tree) -> Profile:
    """Read a StructureDefinition's differential. Raises UnsupportedProfile."""
    root = Rule()
    for element in definition["differential"]["element"]:
        _fill(_place(root, element["id"]), element)
    return Profile(definition["url"], definition["version"], definition["type"], root)


def _place(root: Rule, id: str) -> Rule:
    """The rule of an element id such as `Task.output:decision.value[x]`."""
    rule = root
    for step in id.split(".")[1:]:
        name, _, slice_name = step.removesuffix("[x]").partition(":")
        rule = rule.children.setdefault(name, Rule())
        if slice_name:
            rule = rule.slices.setdefault(slice_name, Rule())
    return rule


def _fill(rule: Rule, element: Tree) -> None:
    rule.minimum = element.get("min", rule.minimum)
    maximum = element.get("max", "*")
    rule.maximum = float("inf") if maximum == "*" else int(maximum)
    rule.constraints = tuple(
        Invariant(each["key"], each["expression"], each["human"])
        for each in element.get("constraint", ())
        if each["severity"] == "error"
    )
    if "type" in element:
        rule.types = frozenset(declared["code"] for declared in element["type"])
        rule.targets = _targets(element["type"])
    binding = element.get("binding", {})
    rule.value_set = binding["valueSet"] if binding.get("strength") == "required" else None
    if "slicing" in element:
        rule.discriminators = _discriminators(element)
    for name in element.keys() - _DESCRIBES - _ASKS:
        if not name.startswith(("fixed", "pattern")):
            raise UnsupportedProfile(f"{element['id']}: {name}")
        rule.value, rule.exact = element[name], name.startswith("fixed")


def _targets(types: list[Tree]) -> frozenset[str] | None:
    named = [profile for declared in types for profile in declared.get("targetProfile", ())]
    if any(not profile.startswith(_CORE) for profile in named):
        raise UnsupportedProfile("a Reference to a resource of a certain profile")
    return frozenset(profile.removeprefix(_CORE) for profile in named) or None


def _discriminators(element: Tree) -> tuple[str, ...]:
    slicing = element["slicing"]
    found = [(each["type"], each["path"]) for each in slicing["discriminator"]]
    if slicing["rules"] != "open" or any(type not in ("value", "pattern") for type, _ in found):
        raise UnsupportedProfile(f"{element['id']}: slicing {slicing['rules']} by {found}")
    return tuple(path for _, path in found)
