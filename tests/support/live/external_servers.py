"""Servers that a test creates and changes through Nova, not through vmapi."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.live.api_script import wait_for

SERVERS_PER_REQUEST = 25
"""Servers that one request creates (`min_count`)."""
CONCURRENT_CHANGES = 6
SETTLE_TIMEOUT = 600.0

Server = dict[str, Any]


class ExternalServers:
    """The servers with the name prefix `label`."""

    def __init__(self, owner: Any, label: str) -> None:
        self._nova = owner.compute
        self._owner = owner
        self.label = label
        self.deleted_ids: set[str] = set()

    def create_servers(self, count: int) -> None:
        """Create servers."""
        image = next(iter(self._owner.image.images(status="active")))
        flavor = next(iter(self._nova.flavors()))
        network = next(iter(self._owner.network.networks()))
        options = {"imageRef": image.id, "flavorRef": flavor.id, "networks": [{"uuid": network.id}]}
        for start in range(0, count, SERVERS_PER_REQUEST):
            batch_size = min(SERVERS_PER_REQUEST, count - start)
            server = {"name": f"{self.label}-{start}", **options, "min_count": batch_size}
            response = self._nova.post("/servers", json={"server": server})
            assert response.status_code == 202, response.text

    def list_servers(self) -> list[Server]:
        """List the servers in Nova."""
        path = f"/servers/detail?limit=1000&name=^{self.label}-"
        return list(self._nova.get(path).json()["servers"])

    def wait_until_settled(self) -> None:
        """Wait until no server has a task in Nova."""
        wait_for(lambda: all(map(_idle, self.list_servers())), SETTLE_TIMEOUT, interval=1.0)

    def change_share(self, share: float) -> None:
        """Change a share of the servers, from 0 to 1."""
        servers = self.list_servers()
        chosen = random.sample(servers, int(len(servers) * share))
        with ThreadPoolExecutor(CONCURRENT_CHANGES) as pool:
            list(pool.map(self._change, chosen, range(len(chosen))))

    def delete_servers(self) -> None:
        """Delete all servers."""
        with ThreadPoolExecutor(CONCURRENT_CHANGES) as pool:
            list(pool.map(self._delete, [server["id"] for server in self.list_servers()]))
        wait_for(lambda: not self.list_servers(), SETTLE_TIMEOUT, interval=1.0)

    def _change(self, server: Server, number: int) -> None:
        vm_id, running = server["id"], server["status"] == "ACTIVE"
        match number % 5:
            case 0:
                self._delete(vm_id)
            case 1:
                name = f"{self.label}-renamed-{number}"
                self._nova.put(f"/servers/{vm_id}", json={"server": {"name": name}})
            case 2:
                body = {"metadata": {"seen": str(number), "é": "ü"}}
                self._nova.post(f"/servers/{vm_id}/metadata", json=body)
            case 3:
                self._act(vm_id, "os-stop" if running else "os-start")
            case _:
                self._act(vm_id, "pause" if running else "lock")

    def _act(self, vm_id: str, action: str) -> None:
        # 409 where the state after an earlier change does not allow the action
        response = self._nova.post(f"/servers/{vm_id}/action", json={action: None})
        assert response.status_code in (202, 409), response.text

    def _delete(self, vm_id: str) -> None:
        response = self._nova.delete(f"/servers/{vm_id}")
        if response.status_code == 409:
            # locked by an earlier change
            self._act(vm_id, "unlock")
            response = self._nova.delete(f"/servers/{vm_id}")
        assert response.status_code in (204, 404), response.text
        self.deleted_ids.add(vm_id)


def _idle(server: Server) -> bool:
    return server["OS-EXT-STS:task_state"] is None and server["status"] != "BUILD"
