"""The table of problem types: for each code its status, title, meaning, advice and members.

A code is never renamed or reused: clients branch on it (RFC 9457, section 3.1.1).
"""

from vmapi.api.problems.problem_type import ProblemType

DEFAULT_BASE_PATH = "/api/v1"
"""The base path in the texts of this table; responses have the one of the request."""


OPERATION_MEMBERS = ("operation", "vm_id")
"""Additional members of every problem that ended an operation."""

VM_STATE = ("current_status", "task", "allowed_actions")

PROBLEM_TYPES: dict[str, ProblemType] = {
    "malformed_request": ProblemType(
        400,
        "Malformed request",
        "The body is not valid JSON, or a header has an invalid value.",
        "Correct the request: send one well-formed JSON object in UTF-8 and valid headers.",
    ),
    "unauthenticated": ProblemType(
        401,
        "Authentication required",
        "The request has no token, or the token is invalid, expired or revoked.",
        "Send `Authorization: Bearer TOKEN` with a valid token. The operator issues tokens.",
    ),
    "forbidden": ProblemType(
        403,
        "Forbidden",
        "The role of the caller is too low, the policy of the cloud forbids the request, or a web "
        "page of another origin sent it.",
        "If `role_needed` is present, use a token with that role. Otherwise follow `detail` or "
        "ask the operator.",
        ("role_needed",),
    ),
    "quota_exceeded": ProblemType(
        403,
        "Quota exceeded",
        "The change would exceed the quota of the project or of the cloud.",
        "Delete unused VMs, choose a smaller flavor, or ask the operator for a larger quota.",
        ("hint",),
    ),
    "vm_not_found": ProblemType(
        404,
        "VM not found",
        "The VM was deleted, the id is wrong, or the VM belongs to another project.",
        "Check the id. `GET /api/v1/vms` lists the existing VMs.",
        OPERATION_MEMBERS,
        "GET /api/v1/vms lists all VMs.",
    ),
    "operation_not_found": ProblemType(
        404,
        "Operation not found",
        "The id is wrong, or the operation is older than the retention time.",
        "Check the id. `GET /api/v1/vms/{id}` shows the current state of the VM.",
        hint="GET /api/v1/operations lists all operations.",
    ),
    "not_found": ProblemType(
        404,
        "Not found",
        "No resource has this URL.",
        "Check the URL. `/docs` lists all URLs.",
    ),
    "method_not_allowed": ProblemType(
        405,
        "Method not allowed",
        "The resource does not support this HTTP method.",
        "Use a method from the `Allow` header.",
    ),
    "invalid_state": ProblemType(
        409,
        "The state of the VM does not allow this action",
        "The action needs another status of the VM.",
        "Choose an action from `allowed_actions`, or change the state of the VM first.",
        (*VM_STATE, "operation"),
    ),
    "task_in_progress": ProblemType(
        409,
        "Another operation is in progress",
        "The VM executes one operation at a time. Only a delete need not wait.",
        "Poll `GET /api/v1/vms/{id}/status` until `task` is null, then send the request again.",
        (*VM_STATE, *OPERATION_MEMBERS),
    ),
    "vm_locked": ProblemType(
        409,
        "The VM is locked",
        "A user of the cloud locked the VM.",
        "Unlock the VM in the cloud, then send the request again.",
        VM_STATE,
    ),
    "name_taken": ProblemType(
        409,
        "Another VM has this name",
        "VM names are unique in a project. `vm_id` names the other VM. If `operation` is present, "
        "that operation is creating the other VM.",
        "Use the other VM, delete it, or choose another name.",
        ("vm_id", "operation"),
    ),
    "bulk_incomplete": ProblemType(
        409,
        "Not every VM of the bulk action was changed",
        "The action was refused for some of the VMs, or it failed for them.",
        "Read `bulk.items` of the operation. Repeat the action with a new `Idempotency-Key`.",
    ),
    "idempotency_in_progress": ProblemType(
        409,
        "The first request with this key is in progress",
        "vmapi has not answered the first request with this `Idempotency-Key` yet.",
        "Repeat the request with the same key after `Retry-After` seconds.",
        ("operation",),
    ),
    "precondition_failed": ProblemType(
        412,
        "The VM has changed",
        "The VM has none of the entity tags in `If-Match`. vmapi changed nothing.",
        "Read the VM again, then decide and send its current `ETag` in `If-Match`.",
        ("etag",),
        "Read it, decide again, and send If-Match: {etag}.",
    ),
    "payload_too_large": ProblemType(
        413,
        "Request body too large",
        "The request body is larger than 1 MiB.",
        "Send a body of at most 1 MiB.",
    ),
    "unsupported_media_type": ProblemType(
        415,
        "Unsupported media type",
        "The body has the wrong `Content-Type`, or it is compressed.",
        "Send `Content-Type: application/json` and no `Content-Encoding`.",
    ),
    "validation_error": ProblemType(
        422,
        "Invalid request",
        "A field or parameter is missing, unknown or has an invalid value.",
        "Correct the places that `errors` lists. Each `pointer` names a field (RFC 6901).",
        ("errors",),
    ),
    "flavor_not_found": ProblemType(
        422,
        "Flavor not found",
        "The cloud has no flavor with this name or id.",
        "Choose a flavor from `GET /api/v1/flavors`.",
        ("errors",),
        "GET /api/v1/flavors lists all flavors.",
    ),
    "image_not_found": ProblemType(
        422,
        "Image not found",
        "The cloud has no image with this name or id, or the image is not active.",
        "Choose an active image from `GET /api/v1/images`.",
        ("errors",),
        "GET /api/v1/images lists all images.",
    ),
    "image_ambiguous": ProblemType(
        422,
        "Ambiguous image",
        "Several images have this name.",
        "Send the id of the image instead of its name.",
        ("errors",),
    ),
    "network_not_found": ProblemType(
        422,
        "Network not found",
        "The cloud has no network with this name or id.",
        "Choose a network from `GET /api/v1/networks`.",
        ("errors",),
        "GET /api/v1/networks lists all networks.",
    ),
    "network_ambiguous": ProblemType(
        422,
        "Ambiguous network",
        "Several networks have this name, or the request names no network and the project has "
        "several.",
        "Send the `network`; use its id if several networks share the name.",
        ("errors",),
    ),
    "key_not_found": ProblemType(
        422,
        "Key pair not found",
        "The cloud has no key pair with this name.",
        "Send the name of an existing key pair, or send `ssh_keys` instead.",
        ("errors",),
    ),
    "security_group_not_found": ProblemType(
        422,
        "Security group not found",
        "The cloud has no security group with this name.",
        "Send names of existing security groups.",
        ("errors",),
    ),
    "security_group_ambiguous": ProblemType(
        422,
        "Ambiguous security group",
        "Several security groups of the project have one of these names.",
        "Rename one of the security groups, or send the id of the right one.",
        ("errors",),
    ),
    "idempotency_key_reused": ProblemType(
        422,
        "Idempotency key already used",
        "An earlier, different request used this `Idempotency-Key`.",
        "Generate a new key for each change. Use a key again only to repeat the same request.",
    ),
    "rate_limited": ProblemType(
        429,
        "Too many requests",
        "The caller or its address exceeded a rate limit. vmapi did nothing.",
        "Repeat the request after `Retry-After` seconds. The `RateLimit` header shows the "
        "remaining requests.",
    ),
    "internal_error": ProblemType(
        500,
        "Internal error",
        "vmapi has a defect.",
        "Report the `request_id` to the operator: it leads to the cause in the log.",
    ),
    "backend_error": ProblemType(
        502,
        "The cloud returned an error",
        "The cloud rejected the request, or it failed to process the request.",
        "Repeat a read. Repeat a change with the same `Idempotency-Key`; use a new key only after "
        "`Idempotent-Replayed: true`. If the error persists, inform the operator.",
        ("hint",),
    ),
    "backend_unavailable": ProblemType(
        503,
        "The cloud is unreachable",
        "vmapi cannot reach the cloud. vmapi sent nothing and will send nothing.",
        "Repeat the request after `Retry-After` seconds.",
    ),
    "store_unavailable": ProblemType(
        503,
        "The database of vmapi is unavailable",
        "vmapi cannot use its database: it is unreachable, full, read-only, damaged, or needs an "
        "upgrade. Unless `detail` says otherwise, the cloud received nothing.",
        "Repeat the request after `Retry-After` seconds; use the same `Idempotency-Key` for a "
        "change.",
        ("operation",),
    ),
    "issuer_unavailable": ProblemType(
        503,
        "The token issuer is unreachable",
        "vmapi cannot reach the issuer or the Keystone that validates the token. vmapi did "
        "nothing.",
        "Repeat the request with the same token after `Retry-After` seconds.",
    ),
    "under_maintenance": ProblemType(
        503,
        "Under maintenance",
        "The operator closed the API for a time. The proxy in front of vmapi answers; nothing was "
        "done.",
        "Repeat the request after `Retry-After` seconds.",
    ),
    "backend_timeout": ProblemType(
        504,
        "The cloud did not respond in time",
        "The cloud did not respond to vmapi. The outcome of a change is unknown until vmapi finds "
        "it in the cloud.",
        "Repeat a read. Repeat a change with the same `Idempotency-Key`; use a new key only after "
        "`Idempotent-Replayed: true`. Without a key, poll the operation in `operation` until it is "
        "finished.",
        ("operation",),
    ),
    "no_capacity": ProblemType(
        503,
        "No host has enough capacity",
        "The cloud found no host with room for the VM.",
        "Delete the VM and create one with a smaller flavor, or try again later.",
        ("hint",),
    ),
    "build_failed": ProblemType(
        502,
        "The cloud could not build the VM",
        "A host accepted the VM and failed to build it.",
        "Delete the VM and create it again. If the error persists, try another image or flavor.",
        ("hint",),
    ),
    "operation_timeout": ProblemType(
        504,
        "The operation did not finish in time",
        "The operation passed its deadline, or the operator ended it. The cloud may still "
        "complete it.",
        "Read the VM, then decide. vmapi left the VM unchanged.",
    ),
    "backend_lost": ProblemType(
        502,
        "The VM disappeared during the operation",
        "A user of the cloud deleted the VM while the operation was in progress.",
        "Create the VM again if you still need it.",
        ("vm_id",),
    ),
}
