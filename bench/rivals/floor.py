"""The floor: bare Flask that responds with ready bytes, from the files of RIVAL_FOLDER."""

import os
from pathlib import Path

from flask import Flask, Response

app = Flask(__name__)
bodies = {path.name: path.read_bytes() for path in Path(os.environ["RIVAL_FOLDER"]).iterdir()}


@app.get("/<name>")
def get_body(name: str) -> Response:
    """Return the content of a file."""
    return Response(bodies[name], content_type="application/json")
