"""A metric that the documentation names exists: an alarm on a name that nothing exports never rings."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_METRIC = re.compile(r"\b(Counter|Gauge|Histogram|Summary|Info|Metric)\(\s*\"(kanwa_\w+)\"")
#: Written in code style and no metric: packages, databases, roles and broker users.
_OTHER = re.compile(
    r"kanwa_(shared|intake|scheduling|outcomes|mdt|admin|subscriber|dashboard|owner|test)(_owner)?\b"
)
_SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def exported() -> set[str]:
    """The names that code gives to prometheus_client, which adds `_total` to those of counters."""
    names: set[str] = set()
    for folder in ("shared", "services", "deploy"):
        for path in (ROOT / folder).rglob("src/**/*.py"):
            names |= {name for _, name in _METRIC.findall(path.read_text())}
    return names


def test_every_metric_that_the_documentation_names_is_exported() -> None:
    known = exported()
    assert len(known) > 10
    unknown = {
        (path.name, name)
        for path in (ROOT / "docs").rglob("*.md")
        for name in re.findall(r"\bkanwa_[a-z_]+[a-z]\b", path.read_text())
        if not _OTHER.match(name)
        and name not in known
        and not any(name.endswith(suffix) and name.removesuffix(suffix) in known for suffix in _SUFFIXES)
    }
    assert unknown == set()


def test_every_metric_about_gaps_is_documented() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    about_gaps = {
        name for name in exported() if re.match(r"kanwa_(event_gaps|events_|source_logs_|gap_checks_)", name)
    }
    assert len(about_gaps) >= 4
    assert {name for name in about_gaps if f"`{name}_total`" not in text} == set()
