"""The examples of the docs page: one story, so that they fit together."""

from typing import Any

VM_ID = "c15d5f2c-be9d-4206-be9a-05fa001cd071"
BULK_ID = "0f6a3b52-1c0e-4a53-9d0c-6a4b1f0e7c55"
OPERATION_ID = "7d2f3f0a-64a5-4f0c-9d3a-0d5f4b0a8c11"

CREATE: dict[str, Any] = {
    "name": "web-1",
    "flavor": "m1.small",
    "image": "ubuntu-22.04",
    "start": True,
    "metadata": {"env": "prod"},
}

VM: dict[str, Any] = {
    "id": VM_ID,
    "name": "web-1",
    "flavor": "m1.small",
    "image": "ubuntu-22.04",
    "status": "RUNNING",
    "task": None,
    "allowed_actions": ["stop", "restart", "pause", "delete"],
    "ip_address": "198.18.0.2",
    "addresses": [{"network": "private", "ip": "198.18.0.2", "version": 4, "type": "fixed"}],
    "metadata": {"env": "prod"},
    "key_name": None,
    "security_groups": ["default"],
    "locked": False,
    "fault": None,
    "backend_status": "ACTIVE",
    "created_at": "2026-02-25T10:30:00Z",
    "updated_at": "2026-02-25T10:35:00Z",
}

BUSY_VM: dict[str, Any] = {**VM, "task": "stopping", "allowed_actions": ["delete"]}

VM_STATUS: dict[str, Any] = {
    "vm_id": VM_ID,
    "status": "RUNNING",
    "task": None,
    "updated_at": "2026-02-25T10:35:00Z",
}

VM_LIST: dict[str, Any] = {"items": [VM], "total": 1, "page": 1, "page_size": 50, "next": None}

OPERATION: dict[str, Any] = {
    "id": OPERATION_ID,
    "action": "stop",
    "vm_id": VM_ID,
    "status": "succeeded",
    "error": None,
    "requested_by": "anonymous",
    "request_id": "req-6b0c6a6e-0b0e-4c55-9f0e-0c8f3c3f3a11",
    "created_at": "2026-02-25T10:35:00Z",
    "started_at": "2026-02-25T10:35:00.012000Z",
    "finished_at": "2026-02-25T10:35:02.501000Z",
    "bulk_id": None,
    "bulk": None,
}

RUNNING_OPERATION: dict[str, Any] = {**OPERATION, "status": "running", "finished_at": None}

BULK_COUNTS = {
    "pending": 0,
    "running": 0,
    "succeeded": 1,
    "failed": 0,
    "superseded": 0,
    "refused": 0,
}

EVENT: dict[str, Any] = {
    "id": "1772015702512345",
    "kind": "operation.succeeded",
    "at": "2026-02-25T10:35:02.503000Z",
    "vm_id": VM_ID,
    "vm": None,
    "operation": OPERATION,
}

OPERATION_LIST: dict[str, Any] = {**VM_LIST, "items": [OPERATION]}

AUDIT_ENTRY: dict[str, Any] = {
    "id": 5213,
    "at": "2026-02-25T10:35:02.501000Z",
    "user": "anonymous",
    "project": "default",
    "address": "192.0.2.7",
    "action": "stop",
    "vm_id": VM_ID,
    "operation_id": OPERATION_ID,
    "request_id": "req-6b0c6a6e-0b0e-4c55-9f0e-0c8f3c3f3a11",
    "outcome": "succeeded",
    "code": None,
    "token_id": None,  # nosec B105 - the id of one
    "reason": None,
    "position": 5213,
}

AUDIT_LIST: dict[str, Any] = {"items": [AUDIT_ENTRY], "next": "/api/v1/audit?cursor=5213"}

FLAVOR: dict[str, Any] = {"id": "2", "name": "m1.small", "vcpus": 1, "ram_mb": 2048, "disk_gb": 2}

IMAGE: dict[str, Any] = {
    "id": "0c5e8a43-3c1f-4b0b-8d1f-1f6f6c0d2b11",
    "name": "ubuntu-22.04",
    "status": "active",
    "min_disk_gb": 1,
    "min_ram_mb": 256,
}

NETWORK: dict[str, Any] = {"id": "5a8e0c3b-0df7-4be9-9f7a-6f0f4ad2c9d1", "name": "private"}

QUOTA: dict[str, Any] = {
    "vms": {"used": 4, "limit": 10, "limited_by": "project"},
    "vcpus": {"used": 6, "limit": 20, "limited_by": "cloud"},
    "ram_mb": {"used": 12_288, "limit": None, "limited_by": None},
}
