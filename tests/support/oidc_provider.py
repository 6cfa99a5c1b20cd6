"""A certified OpenID provider (npm package `oidc-provider`) as a process."""

import json
from pathlib import Path
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.http_client import WAIT_SECONDS
from tests.support.npm import install_npm_packages
from tests.support.processes import ServerProcess, build_environment

HERE = Path(__file__).parents[1] / "e2e" / "issuer"
AUDIENCE = "https://vmapi.example.org"


def install_provider(folder: Path) -> Path:
    """Install the provider from its lock file; skip the test if npm cannot download it."""
    return install_npm_packages(HERE, folder)


def generate_key(id: str) -> dict[str, Any]:
    """Generate a private key as a JWK."""
    private_key = rsa.generate_private_key(65537, 2048)
    jwk: dict[str, Any] = jwt.get_algorithm_by_name("RS256").to_jwk(private_key, as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": id, "use": "sig", "alg": "RS256"}


class OidcProvider(ServerProcess):
    """The provider process; it signs with the first of its keys."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "issuer")
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, *keys: dict[str, Any]) -> None:
        """Start or restart the process, and wait until it serves."""
        self.stop()
        env = build_environment(PORT=str(self.port), AUDIENCE=AUDIENCE, KEYS=json.dumps(keys))
        self.spawn("node", "server.js", env=env)
        self.wait_for("/.well-known/openid-configuration")

    def fetch_token(self, client: str, resource: str = AUDIENCE) -> str:
        """Return a token of a client. The name of a client is its role."""
        answer = requests.post(
            f"{self.url}/token",
            data={"grant_type": "client_credentials", "resource": resource},
            auth=(client, f"{client}-secret"),
            timeout=WAIT_SECONDS,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])
