"""A fake OpenStack in a process that a test can kill, and start again at the same address."""

from pathlib import Path

from tests.support.processes import ServerProcess


class OpenStackProcess(ServerProcess):
    """The fake OpenStack of the benchmarks; without options, with servers that do not change."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory, "openstack")
        self._options = options or ("--servers", "20", "--delays", "none")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a vmapi that uses this cloud."""
        return {
            "VMAPI_BACKEND": "openstack",
            "OS_AUTH_URL": f"{self.url}/identity/v3",
            "OS_USERNAME": "u",
            "OS_PASSWORD": "p",
            "OS_PROJECT_NAME": "p",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
        }

    def start(self) -> "OpenStackProcess":
        """Start the cloud, and wait until it responds."""
        self.spawn_python("bench.standin", "--port", str(self.port), *self._options)
        self.wait_for("/identity/v3")
        return self
