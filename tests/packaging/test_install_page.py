"""The installation page, followed on a Debian 12 that systemd has booted."""

from pathlib import Path

from tests.support.debian import boot_and_run
from tests.support.documentation import code_blocks
from tests.support.processes import ROOT

# a worker that drains says so on the idle connections of nginx
AFTERWARDS = """
systemctl reload vmapi
curl -fsS --retry 5 http://127.0.0.1:8080/readyz
systemctl restart vmapi
curl -fsS --retry 5 http://127.0.0.1:8080/readyz
curl -sS http://127.0.0.1:9464/metrics | grep -c ^vmapi_http_request_duration_seconds_count
systemctl is-active vmapi.socket vmapi.service vmapi-nginx.service
systemctl show --property=NRestarts vmapi.service vmapi-nginx.service
export API=http://127.0.0.1:8080/api/v1 TOKEN
"""


def test_page_installs_a_server_behind_nginx(debian: Path, tmp_path: Path) -> None:
    page = ROOT / "docs/how-to/install.md"
    steps = [block.text for block in code_blocks(page) if block.language == "sh"]
    (session,) = (block.text for block in code_blocks(ROOT / "README.md") if block.is_run)
    output = boot_and_run(debian, tmp_path, "\n".join([*steps, AFTERWARDS, session]))
    lines = output.splitlines()
    assert lines[-2:] == ["web-1 is deleted", "exit 0"], output[-6000:]
    assert lines.count("active") == 3
    assert lines.count("NRestarts=0") == 2
    assert output.count('{"status":"ready"') == 3, output[-6000:]
