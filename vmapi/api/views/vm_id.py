"""What may stand for the id of a VM in a URL."""

from werkzeug.routing import BaseConverter


class VMIdConverter(BaseConverter):
    """Any one segment but `actions`, which is a URL of its own with methods of its own."""

    regex = r"(?!actions\Z)[^/]+"
    part_isolating = True
