"""Sentences of Nova about a member of the request: the error points to the member."""

import pytest

from vmapi import errors
from vmapi.backends.openstack.failures.error_messages import error_for_message

ID = "82fcd684-4bbe-484d-a079-8b4213a3e704"
SENTENCES = [
    ("flavor", "Flavor's disk is too small for requested image. Flavor disk is 1 bytes"),
    ("flavor", "Flavor's memory is too small for requested image."),
    ("flavor", "Conflicting values for cpu found in the flavor (1) and the image (2)."),
    ("flavor", "Forbidden to exceed flavor value of number of serial ports passed in image meta."),
    ("flavor", "CPU number 7 is larger than max 3"),
    ("flavor", "PCI alias gpu is not defined"),
    ("flavor", "Page size 4 forbidden against 'flavor'"),
    ("image", f"Image {ID} is unacceptable: Image is raw"),
    ("image", f"Not authorized for image {ID}."),
    ("image", f"Request of image {ID} got BadRequest response: no"),
    ("image", "Image property 'hw_cpu_policy' is not permitted to override the flavor"),
    ("image", "Block Device Mapping is Invalid: failed to get image x."),
    ("network", f"Network {ID} requires a subnet in order to boot instances on."),
    ("network", "Network requires port_security_enabled and subnet associated in order to …"),
    ("network", f"Physical network is missing for network {ID}"),
    ("network", f"Port {ID} requires a FixedIP in order to be used."),
    ("network", "Fixed IP address 198.18.0.9 is already in use on instance x."),
    ("security_groups", f"Security group {ID} is in use by network x."),
    ("user_data", "User data needs to be valid base 64."),
    ("key_name", "Keypair data is invalid: no"),
    ("metadata", "Invalid metadata: too long"),
]


@pytest.mark.parametrize(("member", "message"), SENTENCES)
@pytest.mark.parametrize("status", [400, 409])
def test_refused_create_points_to_the_member(status: int, member: str, message: str) -> None:
    error = error_for_message(status, message, is_create=True)
    assert isinstance(error, errors.ValidationFailed)
    assert error.detail == f"The cloud refuses: {message}"
    assert error.extra["errors"] == [{"pointer": f"/{member}", "message": message}]


@pytest.mark.parametrize(
    "message", ["The requested availability zone is not available", "The request is invalid."]
)
def test_refused_create_without_a_named_member_points_to_none(message: str) -> None:
    error = error_for_message(400, message, is_create=True)
    assert isinstance(error, errors.ValidationFailed)
    assert error.extra["errors"] == []
