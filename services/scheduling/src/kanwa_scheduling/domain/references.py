"""References between resources, as `Type/id`."""


def relative(reference: str | None) -> str:
    """`Type/id` of a literal reference: without the base that an absolute one has, without a version."""
    return "/".join((reference or "").split("/_history/")[0].split("/")[-2:])


def reference_id(reference: str | None, resource_type: str) -> str | None:
    """The id that a literal reference to `resource_type` names; None for another type or none."""
    kind, slash, id = relative(reference).partition("/")
    return id if slash and id and kind == resource_type else None
