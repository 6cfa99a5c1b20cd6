"""Measure the cost of a validated token in a request: `.venv/bin/python -m bench.tokens [TURNS]`.

The same request (the flavors) goes to one app with three kinds of authentication: anonymous, with
an API token, with the JWT of an issuer. They take turns of many requests each. The output is the
CPU time of this process per request, and the differences within a turn. Log lines go to /dev/null;
gunicorn is not part of the measurement.
"""

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from werkzeug.test import EnvironBuilder

from bench.machine import describe_machine
from vmapi.app import create_app
from vmapi.auth.authenticator import Authenticator
from vmapi.auth.claim_mapping import ClaimMapping
from vmapi.auth.jwt_tokens import JwtValidator
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.domain.identity import anonymous
from vmapi.domain.roles import Role
from vmapi.settings.auth import parse_role_mapping
from vmapi.settings.settings import Settings

BATCH = 200
URL = "https://issuer.example.org"
KEY = rsa.generate_private_key(65537, 2048)


def main(turns: int) -> None:
    """Print the cost of each kind of token."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Path(os.devnull).open("w") as log,
        redirect_stdout(log),
    ):
        senders = build_senders(f"sqlite:///{folder}/vmapi.sqlite3")
        for run in senders.values():
            measure_batch(run)
        gc.collect()
        gc.freeze()
        times = [{name: measure_batch(run) for name, run in senders.items()} for _ in range(turns)]
    print(describe_machine())
    print(f"{turns} turns of {BATCH} requests, load {os.getloadavg()[0]:.1f}; µs of CPU a request")
    for name in senders:
        print(f"{name:<18} {summary(turn[name] for turn in times)}")
        if name != "anonymous":
            print(f"{'  adds':<18} {summary(turn[name] - turn['anonymous'] for turn in times)}")


def build_senders(url: str) -> dict[str, Callable[[], None]]:
    """Return a function for each kind of authentication, which sends one request."""
    rates = dict.fromkeys(("rate_reads", "rate_changes", "rate_address"), ())
    app = create_app(Settings(auth=("token",), database_url=url, **rates))
    services = app.extensions["vmapi"]
    secret, _ = services.api_tokens.create("ci", Role.VIEWER, "web", None, "bench")
    authenticators = {
        "anonymous": (
            Authenticator(
                [], anonymous_identity=anonymous("default"), allow_remote_anonymous=False
            ),
            None,
        ),
        "an API token": (services.authenticator, secret),
        "a JWT": (
            Authenticator(
                [build_jwt_validator()], anonymous_identity=None, allow_remote_anonymous=False
            ),
            sign_token(),
        ),
    }
    return {
        name: build_sender(app, replace(services, authenticator=authenticator), token)
        for name, (authenticator, token) in authenticators.items()
    }


def build_jwt_validator() -> JwtValidator:
    """Return a validator of JWTs that fetches nothing."""
    jwk = jwt.get_algorithm_by_name("RS256").to_jwk(KEY.public_key(), as_dict=True)
    document: dict[str, Any] = {
        "issuer": URL,
        "jwks_uri": URL,
        "keys": [{**jwk, "key_ops": ["verify"]}],
    }
    roles = parse_role_mapping("viewer=viewer")
    claims = ClaimMapping(
        subject_claim="sub",
        role_claim="roles",
        roles=roles,
        project_claim=None,
        default_project="default",
    )
    return JwtValidator(
        OIDCIssuer(URL, fetch=lambda _: document),
        claims,
        url=URL,
        audience="vmapi",
        algorithms=("RS256",),
        types=("at+jwt",),
        leeway=10,
    )


def sign_token() -> str:
    """Return a JWT of the usual length."""
    now = int(time.time())
    claims = {
        "iss": URL,
        "aud": "vmapi",
        "sub": "alice",
        "client_id": "ci",
        "jti": "x" * 36,
        "iat": now,
        "exp": now + 36000,
        "roles": ["viewer"],
        "scope": "openid profile email",
    }
    return jwt.encode(claims, KEY, "RS256", headers={"typ": "at+jwt"})


def build_sender(app: Flask, services: Any, token: str | None) -> Callable[[], None]:
    """Return a function that sends one request to the app with these services."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    environ = EnvironBuilder("/api/v1/flavors", headers=headers).get_environ()
    environ["REMOTE_ADDR"] = "127.0.0.1"
    statuses: list[str] = []

    def start(status: str, *_: object) -> Any:
        statuses.append(status)

    def run() -> None:
        app.extensions["vmapi"] = services
        response = app.wsgi_app(dict(environ), start)
        b"".join(response)
        response.close()  # type: ignore[attr-defined]
        assert statuses.pop() == "200 OK"

    return run


def measure_batch(run: Callable[[], None]) -> float:
    """Return the mean CPU time of a request in microseconds."""
    before = time.process_time()
    for _ in range(BATCH):
        run()
    return (time.process_time() - before) / BATCH * 1e6


def summary(times: Iterable[float]) -> str:
    """Return the median and the quartiles as text."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{middle:7.1f}  ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.tokens")
    parser.add_argument("turns", type=int, nargs="?", default=50)
    main(parser.parse_args().turns)
