"""The twin: the same reads as an ordinary FastAPI service has them, on VMs in memory.

The VMs come from the largest list of RIVAL_FOLDER. The program runs in an environment without
vmapi.
"""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel


class Address(BaseModel):
    """An address of a VM."""

    network: str
    ip: str
    version: int
    type: str


class VM(BaseModel):
    """A VM with the members of the API."""

    id: str
    name: str
    flavor: str | None
    image: str | None
    status: str
    task: str | None
    allowed_actions: list[str]
    ip_address: str | None
    addresses: list[Address]
    metadata: dict[str, str]
    key_name: str | None
    security_groups: list[str]
    locked: bool
    fault: dict[str, Any] | None
    backend_status: str
    created_at: datetime
    updated_at: datetime


class VMPage(BaseModel):
    """A page of VMs."""

    items: list[VM]
    total: int
    page: int | None
    page_size: int
    next: str | None = None


largest = max(Path(os.environ["RIVAL_FOLDER"]).iterdir(), key=lambda path: path.stat().st_size)
vms = {item["id"]: VM(**item) for item in json.loads(largest.read_bytes())["items"]}
app = FastAPI()


@app.get("/vms/{vm_id}", response_model=VM)
async def get_vm(vm_id: str) -> VM:
    """Return one VM."""
    if vm_id not in vms:
        raise HTTPException(404)
    return vms[vm_id]


@app.get("/vms", response_model=VMPage)
async def list_vms(page: int = 1, page_size: int = 50, status: str | None = None) -> VMPage:
    """Return a page of the VMs."""
    matches = [vm for vm in vms.values() if status is None or vm.status == status]
    first = (page - 1) * page_size
    items = matches[first : first + page_size]
    return VMPage(items=items, total=len(matches), page=page, page_size=page_size)
