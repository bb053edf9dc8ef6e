"""Write the Patient compartment that $everything and $export read from HL7's R4 definitions.

    python shared/definitions/generate_compartment.py FOLDER

FOLDER is the unpacked folder `package` of hl7.fhir.r4.core 4.0.1 (see generate_r4.py).
"""

import json
import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src/kanwa_shared/fhir/search/patient_compartment.json"


def compartment(folder: Path) -> dict[str, list[str]]:
    """Search parameters by resource type: a resource is the patient's if one of them points to the Patient."""
    definition = json.loads((folder / "CompartmentDefinition-patient.json").read_text())
    return {each["code"]: sorted(each["param"]) for each in definition["resource"] if "param" in each}


if __name__ == "__main__":
    rows = [
        f" {json.dumps(code)}: {json.dumps(params)}"
        for code, params in compartment(Path(sys.argv[1])).items()
    ]
    TARGET.write_text("{\n" + ",\n".join(rows) + "\n}\n")
