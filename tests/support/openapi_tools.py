"""Programs that read the OpenAPI document, and the server that they talk to."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Gunicorn, ServerProcess, build_environment

TOOL_SECONDS = 180
QUIET = {"NO_COLOR": "1"}
COMPLAINTS = ("warn", "error", "unable", "skipp", "fail", "unsupported")
PROGRAM_FOLDERS = ("node_modules/.bin", ".venv/bin")


@dataclass(frozen=True)
class ApiUnderTest:
    """A server and a token for it."""

    server: Gunicorn
    token: str

    @property
    def url(self) -> str:
        """The URL of the server's root."""
        return f"http://127.0.0.1:{self.server.port}"


class OpenapiTools:
    """A folder with programs and with the document of a server, `openapi.json`."""

    def __init__(self, folder: Path, api: ApiUnderTest) -> None:
        self.folder = folder
        self._api = api
        (folder / "openapi.json").write_bytes(api.server.call("GET", "/openapi.json").body)

    def run(self, *command: str, url: str | None = None) -> str:
        """Run a program that must succeed, and return its output."""
        programs = [str(self.folder / name) for name in PROGRAM_FOLDERS]
        settings = {"VMAPI_URL": url or self._api.url, "VMAPI_TOKEN": self._api.token, **QUIET}
        path = os.pathsep.join([*programs, os.environ["PATH"]])
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=build_environment(PATH=path, PYTHONPATH="", **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TOOL_SECONDS,
            check=False,
        )
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}"
        return result.stdout

    def generate(self, *command: str) -> None:
        """Run a generator that must succeed, without a report of parts that it leaves out."""
        output = self.run(*command).lower()
        assert [word for word in COMPLAINTS if word in output] == [], output


class PrismProxy(ServerProcess):
    """A proxy that refuses requests and responses which the OpenAPI document does not allow."""

    def __init__(self, tools: OpenapiTools, upstream: Gunicorn) -> None:
        super().__init__(tools.folder, f"prism-{upstream.port}")
        document = self.directory / f"openapi-{upstream.port}.json"
        document.write_bytes(upstream.call("GET", "/openapi.json").body)
        self._command = (
            *(str(tools.folder / "node_modules/.bin/prism"), "proxy", str(document)),
            *(f"http://127.0.0.1:{upstream.port}", "--errors"),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        )

    def __enter__(self) -> "PrismProxy":
        self.spawn(*self._command)
        self.wait_for("/livez")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
