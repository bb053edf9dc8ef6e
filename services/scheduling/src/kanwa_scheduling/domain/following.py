"""What becomes of an Appointment when its Procedure moves on."""

from collections.abc import Mapping, Sequence
from typing import Final

from kanwa_scheduling.domain.appointment import TRANSITIONS, AppointmentCommand, AppointmentStatus
from kanwa_scheduling.domain.procedure import ProcedureStatus
from kanwa_scheduling.domain.reasons import says_no_show
from kanwa_shared.fhir.json_types import Tree

_C = AppointmentCommand
_P = ProcedureStatus

#: Commands tried one after the other; one that the Appointment's table does not have is passed over.
_COMMANDS: Final[Mapping[ProcedureStatus, Sequence[AppointmentCommand]]] = {
    _P.IN_PROGRESS: (_C.BOOK, _C.ARRIVE),
    _P.COMPLETED: (_C.BOOK, _C.ARRIVE, _C.FULFIL),
    _P.STOPPED: (_C.BOOK, _C.ARRIVE, _C.FULFIL),
    _P.NOT_DONE: (_C.CANCEL,),
}
_AFTER_ARRIVAL: Final = frozenset({AppointmentStatus.CHECKED_IN, AppointmentStatus.ARRIVED})


def appointment_after(
    appointment: AppointmentStatus, procedure: ProcedureStatus, reason: Tree | None
) -> AppointmentStatus:
    """The Appointment's status once its Procedure has this one; `reason` is Procedure.statusReason.

    A Procedure that is not done because the patient stayed away makes a booked Appointment a no-show.
    """
    commands = _COMMANDS.get(procedure, ())
    # Who had come before the procedure was called off has used the time: fulfilled, not cancelled.
    if procedure is _P.NOT_DONE and appointment in _AFTER_ARRIVAL:
        commands = (_C.ARRIVE, _C.FULFIL)
    elif procedure is _P.NOT_DONE and says_no_show(reason):
        commands = (_C.MISS, _C.CANCEL)
    status = appointment
    for command in commands:
        status = TRANSITIONS.get((status, command), status)
    return status
