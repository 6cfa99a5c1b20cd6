"""The meanings of the log messages, and the advice for operators.

The key is the text of a message in the code. A message without a meaning, and a meaning without a
message, fail a test.
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """The meaning of a message, and the advice for an operator."""

    meaning: str
    advice: str = ""


DEFECT = "report the traceback: a defect of vmapi"
DATABASE = "[the database](../how-to/troubleshooting.md#when-the-database-is-unavailable)"
CLOUD = "[the cloud](../how-to/troubleshooting.md#when-the-cloud-is-unreachable)"

MEANINGS: dict[str, Meaning] = {
    "uncaught error ends the process": Meaning("a defect stopped the process", DEFECT),
    "uncaught error ends a thread": Meaning(
        "a defect stopped the thread in `thread`", "restart the process; " + DEFECT
    ),
    "error in a finalizer ignored": Meaning("a defect while an object was removed", DEFECT),
    "unhandled exception": Meaning("a request was answered with 500 `internal_error`", DEFECT),
    "request failed outside the app": Meaning("gunicorn could not serve a request", DEFECT),
    "response body failed": Meaning("a response ended early", DEFECT),
    "credentials could not be checked": Meaning(
        "an event stream was ended, because its token could not be validated again", DEFECT
    ),
    "connection failed": Meaning("a connection was closed by a defect", DEFECT),
    "event reader failed": Meaning("event streams are silent; vmapi tries again", DEFECT),
    "health check failed": Meaning("`/readyz` could not check a dependency", DEFECT),
    "probe failed": Meaning("the ping of a dependency (`probe`) has a defect", DEFECT),
    "engine tick failed": Meaning("a round of the engine failed; it tries again", DEFECT),
    "periodic task failed": Meaning("the job in `task` failed; it is repeated", DEFECT),
    "reconcile failed": Meaning("an operation could not be continued; it is tried again", DEFECT),
    "lease renewal failed": Meaning("leases were not renewed; it is tried again", DEFECT),
    "metrics could not be collected": Meaning("a scrape of Prometheus got no metrics", DEFECT),
    "metrics could not be sampled": Meaning("gauges of this process are out of date", DEFECT),
    "metrics could not be written": Meaning(
        "the metrics of this process are incomplete", "free space in the temporary folder"
    ),
    "delegated start failed": Meaning(
        "an operation under a caller's token has not started; the operation has the error",
        "none at level info; at level error " + DEFECT,
    ),
    "audit chain broken, nothing purged": Meaning(
        "an audit entry was changed or removed",
        "[verify the chain](../how-to/backup.md#the-audit-trail)",
    ),
    "audit entry for refused request not written": Meaning(
        "the audit trail lacks a refusal", DATABASE
    ),
    "operation of another version cannot be read, not reconciled here": Meaning(
        "a process of another version wrote the operation",
        "finish the [upgrade](../how-to/upgrade.md)",
    ),
    "observation cannot be stored": Meaning(
        "the database cannot hold the observation of an operation", DEFECT
    ),
    "VM cannot be stored": Meaning(
        "the database cannot hold this VM; the other VMs are current",
        "examine the VM in the cloud",
    ),
    "VM cannot be read": Meaning(
        "vmapi cannot read this VM; the other VMs are current", "examine the VM in the cloud"
    ),
    "several processes serve a cloud in memory": Meaning(
        "each request is answered with 503",
        "use one process, and one server for a SQLite file, or set `VMAPI_BACKEND=openstack`",
    ),
    "…: staying with one worker": Meaning(
        "SIGTTIN is ignored: each process would have its own in-memory cloud", "nothing"
    ),
    "…: not starting a second server": Meaning(
        "SIGUSR2 is ignored: each process would have its own in-memory cloud",
        "restart the server",
    ),
    "the … cloud is for development: its VMs are not real, and gone when this process ends": (
        Meaning("`VMAPI_BACKEND` is `memory`", "[connect a cloud](../how-to/connect-a-cloud.md)")
    ),
    "VMAPI_AUTH=none: requests need no token, and everybody may do everything": Meaning(
        "each caller is an admin", "[create tokens](../how-to/api-tokens.md)"
    ),
    "circuit breaker opened": Meaning("the cloud is unreachable: changes are refused", CLOUD),
    "inventory sync failed; serving cached data": Meaning(
        "reads get older; once an outage, then once a minute with the number of `failures`", CLOUD
    ),
    "operation poll failed, will retry": Meaning(
        "the cloud did not answer a poll for the operations in progress; once an outage, then "
        "once a minute with the number of `failures`",
        CLOUD,
    ),
    "operation abandoned": Meaning(
        "an unexpected error has ended each of 20 attempts; the operation has failed", DEFECT
    ),
    "outcome check failed, will retry": Meaning(
        "the outcome of an operation could not be read", CLOUD
    ),
    "records of actions are hidden: operations are judged by the VM alone": Meaning(
        "Nova's policy does not let vmapi's account read `os-instance-actions`",
        "grant it, for exact outcomes",
    ),
    "VMs of other projects are not visible": Meaning(
        "Nova refuses `all_tenants` to vmapi's account",
        "[Keystone](../how-to/keystone.md#vmapis-account)",
    ),
    "item of the cloud ignored": Meaning(
        "vmapi cannot read a server, image, flavor or network (`kind`, `id`); the others are "
        "listed",
        "examine it in the cloud",
    ),
    "members of images not read": Meaning(
        "images that other projects share are missing from the list", "examine Glance"
    ),
    "members of an image not read": Meaning(
        "a shared image is missing from the list", "examine the image in Glance"
    ),
    "deleting duplicate VM": Meaning(
        "a create with a lost response left a VM that no operation names", "nothing"
    ),
    "duplicate VM could not be deleted": Meaning(
        "the VM stays; vmapi tries again", "if it stays for long: delete it in the cloud"
    ),
    "broker unavailable, falling back to polling": Meaning(
        "workers find their operations in the database, a little later", "restart the broker"
    ),
    "credentials of the cloud replaced": Meaning(
        "the cloud refused the credentials, and vmapi uses those that the file has now"
    ),
    "credentials of the cloud not readable": Meaning(
        "the cloud refuses the credentials, and their file has no other ones",
        "correct the file; see [rotation](../how-to/rotate-secrets.md)",
    ),
    "secret file not usable": Meaning(
        "the file of a secret was replaced, and the value of the start is used; once a minute",
        "correct the file; see [rotation](../how-to/rotate-secrets.md)",
    ),
    "database unavailable": Meaning(
        "once an outage and process; `reason` has the driver's words, without passwords", DATABASE
    ),
    "event stream ended, store unavailable": Meaning("its client connects again", DATABASE),
    "lease not released, will expire": Meaning(
        "another process continues the operation a few seconds later", DATABASE
    ),
    "leases not released, will expire": Meaning(
        "other processes continue the operations a few seconds later", DATABASE
    ),
    "token last-used update failed": Meaning(
        "the list of tokens shows an earlier use",
        f"at level warning {DATABASE}; at level error {DEFECT}",
    ),
    "database file was open to all users, made private": Meaning(
        "all users could read or write SQLite's file", "change the token secrets it holds"
    ),
    "database file is locked by another process": Meaning(
        "this process waits for another one, which creates or upgrades the database, or hangs",
        "`fuser PATH` names the process: end it if it hangs",
    ),
    "database file is open to all users": Meaning(
        "all users can read or write SQLite's file, and vmapi may not change its mode",
        "`chmod 600` as the owner of the file",
    ),
    "Redis is unavailable: rates are limited per process": Meaning(
        "each process counts requests until Redis responds", "restart Redis"
    ),
    "Keystone does not respond: its tokens are not validated": Meaning(
        "callers with Keystone tokens get 503; no request waits for Keystone", "restart Keystone"
    ),
    "Keystone unavailable": Meaning("a token could not be validated: 503", "examine Keystone"),
    "Keystone did not validate a token": Meaning(
        "Keystone answered with an error: 503", "the `reason`: mostly vmapi's account"
    ),
    "issuer keys cannot be fetched": Meaning(
        "callers with a JWT may get 503", "the `reason`; `VMAPI_JWT_ISSUER`"
    ),
    "issuer key unreadable, skipped": Meaning(
        "tokens of this key are refused", "examine the keys of the issuer"
    ),
    "issuer key too short, skipped": Meaning(
        "tokens of this key are refused", "use longer keys at the issuer"
    ),
    "request could not be parsed: …": Meaning(
        "gunicorn refused a malformed request; the class of the error follows",
        "nothing, unless there are many: find the client",
    ),
    "no connection can be accepted at present": Meaning(
        "the system refuses connections; `reason` says why",
        "mostly a lack of [open files](../how-to/connect-a-cloud.md#open-files)",
    ),
    "log lines dropped": Meaning(
        "the reader of stdout hangs, or the disk of the log was full; `lines` are lost",
        "examine the log collector and the disk",
    ),
    "Python warning": Meaning("a library warns in `reason`", "nothing; report it with an upgrade"),
    "request": Meaning("a request was answered"),
    "vm … …": Meaning("the end of an operation: action and outcome, as `vm create succeeded`"),
    "re-dispatching action": Meaning("an action that did not arrive is sent again"),
    "purged expired rows": Meaning("old operations, events, VMs and API tokens were removed"),
    "circuit breaker closed": Meaning("the cloud answers again"),
    "Keystone responds again": Meaning("tokens of Keystone are validated again"),
    "inventory sync works again": Meaning("reads are current again"),
    "broker available again": Meaning("workers are notified again"),
    "database available again": Meaning("five seconds passed without a failure"),
    "Redis is available: rates are limited for all processes together": Meaning(
        "the processes count together again"
    ),
    "worker ready": Meaning("a worker has started"),
    "worker stopped": Meaning("a worker has handed over its operations"),
    "ready at …, the docs page is at /docs": Meaning("a serving process has started"),
    "Celery message": Meaning("a text of Celery, in `reason`"),
    "read repeated": Meaning("a read from the cloud failed fast and is sent again"),
    "client has disconnected": Meaning("a client did not wait for its response"),
    "event reader paused": Meaning("event streams wait for the database"),
    "operation deferred": Meaning("an operation waits for the database"),
    "periodic task deferred": Meaning("a job waits for the database or the cloud"),
    "store unavailable, engine paused": Meaning("the engine waits for the database"),
    "store unavailable, leases not renewed": Meaning("the leases wait for the database"),
    "metrics not sent": Meaning("Prometheus ended its connection"),
}
