"""nginx with TLS, configured by the command that `config/nginx.conf` gives for it."""

import re
import ssl
import subprocess
from pathlib import Path

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, Nginx, free_port, require_program


class TlsNginx(Nginx):
    """Listens for TLS on its port, and for plain HTTP on `plain`."""

    def __init__(self, directory: Path, upstream: int) -> None:
        self.http_port = free_port()
        self.certificate = directory / "fullchain.pem"
        super().__init__(directory, upstream)

    def listen(self) -> None:
        """Run the command of the configuration, then set ports and files of the test."""
        (command,) = re.findall(r"sed -i '([^']+)'", (ROOT / "config/nginx.conf").read_text())
        subprocess.run(["sed", "-i", command, str(self.config)], check=True)
        key = self.certificate.with_name("key.pem")
        self.replace("listen 80;", f"listen 127.0.0.1:{self.http_port};")
        self.replace("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl")
        self.replace("/etc/vmapi/tls/fullchain.pem", str(self.certificate))
        self.replace("/etc/vmapi/tls/key.pem", str(key))
        new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
        files = ["-keyout", str(key), "-out", str(self.certificate)]
        command = [require_program("openssl", "openssl"), *new, *name, *files]
        subprocess.run(command, check=True, capture_output=True, timeout=WAIT_SECONDS)

    def ssl_context(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return a client context that trusts the certificate, limited to one version if named.

        Old versions need a lower security level, without which the client itself refuses.
        """
        context = ssl.create_default_context(cafile=str(self.certificate))
        if version is not None:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        return context
