"""Sample values of the domain, and the time at which the samples were made."""

import re
from datetime import UTC, datetime, timedelta

from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, Step
from vmapi.domain.vm import VM

T0 = datetime(2026, 2, 25, 10, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
GENERATED_REQUEST_ID = re.compile(
    "req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
"""A request id of vmapi: a random UUID after `req-`."""

VM_1 = VM(
    id="1",
    name="web-1",
    flavor="m1.tiny",
    image="cirros",
    status=Status.RUNNING,
    created_at=T0,
    updated_at=T0,
    backend_status="ACTIVE",
    project="default",
)
OPERATION_1 = Operation(
    id="o",
    action=Action.STOP,
    steps=(Step(Verb.RESUME), Step(Verb.STOP)),
    created_at=T0,
    requested_by="anonymous",
    request_id="r",
    vm_id="1",
)
