"""The table of problems: for each code its HTTP status, its title, and what to do about it.

A code is never renamed or reused.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What is the same for every problem of one code: HTTP status, title, what to do about it."""

    status: int
    title: str
    advice: str


PROBLEM_TYPES: dict[str, ProblemType] = {
    "malformed_request": ProblemType(
        400, "The request cannot be read", "Send one well-formed JSON object in UTF-8."
    ),
    "unauthenticated": ProblemType(
        401,
        "Who are you?",
        "Send Authorization: Bearer TOKEN, with a token that is valid here. Ask the operator for "
        "one.",
    ),
    "forbidden": ProblemType(
        403,
        "This is not permitted",
        "Where role_needed is given, your role does not reach: use a token of that role. Else the "
        "detail says whether it is the cloud's policy, or that a web page may not send this. Ask "
        "the operator.",
    ),
    "quota_exceeded": ProblemType(
        403,
        "The quota is used up",
        "Delete VMs that are not needed, take a smaller flavor, or ask for a larger quota.",
    ),
    "vm_not_found": ProblemType(
        404, "There is no such VM", "It was deleted, or the id is wrong. GET /vms lists what is."
    ),
    "operation_not_found": ProblemType(
        404,
        "There is no such operation",
        "The id is wrong, or the operation is no longer remembered. The VM itself tells its state.",
    ),
    "not_found": ProblemType(404, "There is nothing at this URL", "See /docs for what there is."),
    "method_not_allowed": ProblemType(
        405, "This URL does not know this method", "The Allow header lists the methods it knows."
    ),
    "invalid_state": ProblemType(
        409,
        "The VM's state does not allow this",
        "allowed_actions lists what the VM's present state allows.",
    ),
    "task_in_progress": ProblemType(
        409,
        "Something else is under way with the VM",
        "Poll GET /vms/{id}/status until task is null, then try again. Only delete need not wait.",
    ),
    "vm_locked": ProblemType(
        409, "The VM is locked", "Somebody locked it in the cloud: unlock it there."
    ),
    "name_taken": ProblemType(
        409,
        "Another VM has this name",
        "Use the VM in vm_id, delete it, or choose another name. Where operation is given, "
        "the VM of that name is just being made.",
    ),
    "idempotency_in_progress": ProblemType(
        409,
        "The first request with this key is still being answered",
        "Repeat it after Retry-After seconds, with the same key.",
    ),
    "precondition_failed": ProblemType(
        412,
        "The VM is not as it was when it was read",
        "Nothing was done. GET the VM, decide anew, and send its ETag in If-Match.",
    ),
    "payload_too_large": ProblemType(413, "The body is too large", "Send at most 1 MiB."),
    "unsupported_media_type": ProblemType(
        415, "The body is of the wrong type", "Send Content-Type: application/json, not compressed."
    ),
    "validation_error": ProblemType(
        422,
        "The request is not what the contract allows",
        "errors names each place and what is wrong there. Unknown fields are errors too.",
    ),
    "flavor_not_found": ProblemType(
        422, "There is no such flavor", "GET /flavors lists what there is."
    ),
    "image_not_found": ProblemType(
        422, "There is no such image", "GET /images lists what there is."
    ),
    "image_ambiguous": ProblemType(
        422, "Several images have this name", "Give the image's id instead."
    ),
    "network_not_found": ProblemType(
        422, "There is no such network", "GET /networks lists what there is."
    ),
    "network_ambiguous": ProblemType(
        422, "Which network is not clear", "Name the network, by its id where names are the same."
    ),
    "key_not_found": ProblemType(
        422, "There is no such key pair", "Name a key pair of the cloud, or send ssh_keys instead."
    ),
    "security_group_not_found": ProblemType(
        422, "There is no such security group", "Name security groups that the cloud has."
    ),
    "idempotency_key_reused": ProblemType(
        422,
        "This key came with another request",
        "Make a new Idempotency-Key for each change, and repeat a change under its own.",
    ),
    "rate_limited": ProblemType(
        429,
        "Too many requests",
        "Nothing was done. Try again after Retry-After seconds; the RateLimit header tells what is "
        "left.",
    ),
    "internal_error": ProblemType(
        500, "vmapi failed", "A defect of vmapi: tell the operator the request_id."
    ),
    "backend_error": ProblemType(
        502,
        "The cloud failed",
        "The cloud answered with an error of its own. Try again, a change under a new "
        "Idempotency-Key; if it stays, tell the operator.",
    ),
    "backend_unavailable": ProblemType(
        503,
        "The cloud cannot be reached",
        "Nothing was sent and nothing will be. Try again after Retry-After seconds.",
    ),
    "store_unavailable": ProblemType(
        503,
        "vmapi's database cannot be reached",
        "Unless the detail says otherwise, nothing was sent to the cloud. Try again after "
        "Retry-After seconds, a change with the same Idempotency-Key.",
    ),
    "issuer_unavailable": ProblemType(
        503,
        "What vouches for tokens cannot be reached",
        "Nothing was done. Try again after Retry-After seconds, with the same token.",
    ),
    "backend_timeout": ProblemType(
        504,
        "The cloud did not answer in time",
        "Whether the change was made is not known yet. Poll the operation that is named, "
        "where one is; do not send the change again before it is over.",
    ),
    "no_capacity": ProblemType(
        503,
        "No host has room for the VM",
        "Delete the VM and try a smaller flavor, or try again later.",
    ),
    "build_failed": ProblemType(
        502,
        "The cloud could not build the VM",
        "Delete the VM and create it again; if it fails again, try another image or flavor.",
    ),
    "operation_timeout": ProblemType(
        504,
        "The operation did not end in time",
        "The VM was left as it is: look at it, then decide. The cloud may still carry it out.",
    ),
    "backend_lost": ProblemType(
        502, "The VM vanished", "Somebody deleted it in the cloud while the operation was on."
    ),
}
