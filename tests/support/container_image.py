"""The settings that the container image brings."""

import re

from tests.support.processes import ROOT

CONTAINERFILE = ROOT / "deploy/container/Containerfile"


def read_image_settings() -> dict[str, str]:
    """Return the variables of vmapi in the file of the image."""
    return dict(re.findall(r"(VMAPI_[A-Z_]+)=([^\s\\]+)", CONTAINERFILE.read_text()))
