"""Send real FHIR files to a running kanwa and say what became of each."""

from kanwa.conformance.judging import Verdict, judge
from kanwa.conformance.report import report
from kanwa.conformance.suites import SuiteCase, run_suites

__all__ = ["SuiteCase", "Verdict", "judge", "report", "run_suites"]
