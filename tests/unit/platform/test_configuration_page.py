"""docs/configuration.md names every setting, each with the default that the code has."""

import re
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from kanwa_intake.settings import IntakeSettings
from kanwa_mdt.settings import MdtSettings
from kanwa_outcomes.settings import OutcomesSettings
from kanwa_scheduling.settings import SchedulingSettings
from kanwa_shared.settings import BaseServiceSettings

REPOSITORY = Path(__file__).parents[3]
PAGE = REPOSITORY / "docs" / "configuration.md"

SECTIONS: dict[str, type[BaseServiceSettings]] = {
    "Every service": BaseServiceSettings,
    "intake": IntakeSettings,
    "scheduling": SchedulingSettings,
    "outcomes": OutcomesSettings,
    "mdt": MdtSettings,
}


def defaults_on_the_page(section: str) -> dict[str, str]:
    """The cells `variable` and `default` of a section's table."""
    text = PAGE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?P<variables>`[^|]+) \| (?P<default>[^|]+) \|", text, re.MULTILINE)
    return {
        name: default.strip("`") for variables, default in rows for name in re.findall(r"`(\w+)`", variables)
    }


def own_fields(settings: type[BaseServiceSettings]) -> dict[str, FieldInfo]:
    fields: dict[str, FieldInfo] = dict(settings.model_fields)
    if settings is BaseServiceSettings:
        return fields
    return {name: field for name, field in fields.items() if name not in BaseServiceSettings.model_fields}


def written(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.default
    return "none" if default is None else f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_setting_stands_on_the_page_with_its_default(section: str) -> None:
    in_the_code = {
        f"KANWA_{name.upper()}": written(field) for name, field in own_fields(SECTIONS[section]).items()
    }
    assert defaults_on_the_page(section) == in_the_code


def test_each_variable_of_the_compose_file_stands_on_the_page_with_its_default() -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    used = re.findall(r"(?<!\$)\$\{(?P<name>\w+):(?P<rest>[-?][^}]*)\}", compose)
    assert used
    in_the_file = {name: "required" if rest.startswith("?") else rest[1:] or "none" for name, rest in used}
    assert defaults_on_the_page("docker-compose.yml") == in_the_file


def test_each_variable_of_the_example_environment_stands_on_the_page() -> None:
    named = re.findall(r"^(\w+)=", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
    assert named
    assert set(named) <= set(defaults_on_the_page("docker-compose.yml"))
