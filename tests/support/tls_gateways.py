"""nginx and HAProxy with TLS, configured by the command that each configuration gives for it."""

import re
import ssl
import subprocess
from pathlib import Path

from tests.support.certificates import create_certificate
from tests.support.gateways import Gateway, Haproxy, Nginx
from tests.support.processes import free_port


def switch_on_tls(gateway: Gateway) -> None:
    """Run the command of a configuration."""
    (command,) = re.findall(r"sed -i '([^']+)'", gateway.config.read_text())
    subprocess.run(["sed", "-i", command, str(gateway.config)], check=True)


def trust_certificate(certificate: Path, version: ssl.TLSVersion | None) -> ssl.SSLContext:
    """Return a client context that trusts a certificate, limited to one version if named.

    Old versions need a lower security level, without which the client itself refuses.
    """
    context = ssl.create_default_context(cafile=str(certificate))
    if version is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


class TlsNginx(Nginx):
    """Listens for TLS on its port, and for plain HTTP on `http_port`."""

    def __init__(self, directory: Path, upstream: int) -> None:
        self.http_port = free_port()
        self.certificate, self._key = create_certificate(directory)
        super().__init__(directory, upstream)

    def listen(self) -> None:
        """Convert the configuration, then set the ports and files of the test."""
        switch_on_tls(self)
        self.replace("listen 80;", f"listen 127.0.0.1:{self.http_port};")
        self.replace("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl")
        self.replace("/etc/vmapi/tls/fullchain.pem", str(self.certificate))
        self.replace("/etc/vmapi/tls/key.pem", str(self._key))

    def ssl_context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return the context of a client."""
        return trust_certificate(self.certificate, version)


class TlsHaproxy(Haproxy):
    """Listens for TLS on its port, and for plain HTTP on `http_port`."""

    def __init__(self, directory: Path, upstream: int) -> None:
        self.http_port = free_port()
        self.certificate, key = create_certificate(directory)
        self._bundle = directory / "vmapi.pem"
        self._bundle.write_bytes(self.certificate.read_bytes() + key.read_bytes())
        super().__init__(directory, upstream)

    def listen(self) -> None:
        """Convert the configuration, then set the ports and files of the test."""
        switch_on_tls(self)
        self.replace("bind :80\n", f"bind 127.0.0.1:{self.http_port}\n")
        self.replace("bind :443 ssl", f"bind 127.0.0.1:{self.port} ssl")
        self.replace("crt /etc/haproxy/tls/vmapi.pem", f"crt {self._bundle}")

    def ssl_context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return the context of a client."""
        return trust_certificate(self.certificate, version)
