"""Resources that kanwa itself publishes, such as the catalogue: readable by all, writable by none."""

from kanwa_shared.errors import Forbidden
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.rest.service import Context


def check_not_fixed(engine: Engine, resource_type: str, id: str) -> None:
    """Raise Forbidden if the resource is part of what kanwa publishes."""
    if (resource_type, id) in engine.fixed:
        raise Forbidden(
            f"{resource_type}/{id} is published by kanwa and read only; write your own under another id"
        )


async def publish_fixed(engine: Engine) -> int:
    """Store what the service publishes, where it is missing or differs; returns how many were written."""
    trees = list(engine.definition.fixed()) if engine.definition.fixed else []

    async def stage(context: Context) -> int:
        stored = await context.store.get_many([(tree["resourceType"], tree["id"]) for tree in trees])
        written = 0
        for tree in trees:
            current = stored.get((tree["resourceType"], tree["id"]))
            if current is None:
                context.changes.create(tree, id=tree["id"])
            elif current.deleted or _content(current.tree) != _content(tree):
                context.changes.update(current, tree)
            else:
                continue
            written += 1
        return written

    return await engine.perform(Origin(caller=f"kanwa-{engine.definition.name}"), stage)


def _content(tree: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in tree.items() if name != "meta"}
