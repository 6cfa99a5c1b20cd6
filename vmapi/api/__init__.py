"""The HTTP API: request hooks, views, schemas, problems and the OpenAPI document.

`vmapi.app` assembles it. No package below it imports Flask, werkzeug or marshmallow.
"""
