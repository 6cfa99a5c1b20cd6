"""Entity tags as compressing servers rewrite them: Apache, Caddy and Jetty append a suffix."""

import pytest

from tests.support.api_harness import ApiHarness

SUFFIXES = ("-gzip", "-br", "-df", "-deflate", "-zstd", "--gzip", "-br-gzip")


def etag_of(harness: ApiHarness, vm_id: str) -> str:
    etag: str = harness.call("GET", f"/vms/{vm_id}").headers["ETag"]
    return etag


def with_suffix(etag: str, suffix: str) -> str:
    return f'{etag[:-1]}{suffix}"'


@pytest.mark.parametrize("template", ["{}", "W/{}", '"a", {}', '"1-gzip",W/"b-br" , W/{}'])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_suffix_of_a_content_coding_does_not_count(
    harness: ApiHarness, suffix: str, template: str
) -> None:
    vm_id = harness.create_running()
    path, old = f"/vms/{vm_id}", etag_of(harness, vm_id)
    sent = template.format(with_suffix(old, suffix))
    for read in (path, f"{path}/status"):
        response = harness.call("GET", read, headers={"If-None-Match": sent})
        assert (response.status_code, response.headers["ETag"]) == (304, old)
    changes = [("PATCH", path, {"json": {"metadata": {"a": "b"}}}), ("POST", f"{path}/pause", {})]
    for method, target, kwargs in changes:
        current = etag_of(harness, vm_id)
        tag = template.format(with_suffix(current, suffix))
        response = harness.call(method, target, headers={"If-Match": tag}, **kwargs)
        assert (response.status_code, response.headers["ETag"]) == (200, etag_of(harness, vm_id))
        late = harness.call(method, target, headers={"If-Match": tag}, **kwargs)
        assert (late.status_code, late.json["code"]) == (412, "precondition_failed")


@pytest.mark.parametrize(
    "altered",
    ["{0}-gzip{1}", "{0}gzip{1}", "{0}{1}-gzip-x", "-gzip{0}{1}", "{0}{1}-identity", "{0}{1}-GZIP"],
)
def test_other_changes_of_a_tag_count(harness: ApiHarness, altered: str) -> None:
    vm_id = harness.create_running()
    etag = etag_of(harness, vm_id)
    sent = f'"{altered.format(etag[1:3], etag[3:-1])}"'
    assert harness.call("GET", f"/vms/{vm_id}", headers={"If-None-Match": sent}).status_code == 200
    response = harness.call("POST", f"/vms/{vm_id}/stop", headers={"If-Match": sent})
    assert (response.status_code, response.json["etag"]) == (412, etag)
