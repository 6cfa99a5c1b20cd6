"""The failures of a request to the cloud, as exceptions of the driver.

The first three stay inside the session: `errors.translate_errors` turns them into errors of the
domain. The others are errors of the domain that the driver distinguishes.
"""

import requests

from vmapi import errors


class ErrorResponse(Exception):
    """A response with a status of 300 or more."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"HTTP {response.status_code}")
        self.response = response


class RequestNotSent(Exception):
    """The login or discovery before a request failed; `__cause__` has the reason."""


class NoResponse(Exception):
    """A request got no complete response, for the reason in `__cause__`."""


class CredentialsRefused(errors.BackendUnavailable):
    """The cloud refuses the credentials of vmapi.

    Clients see the code `backend_unavailable`.
    """

    backend_unresponsive = False


class RequestsThrottled(errors.BackendUnavailable):
    """A service limits the rate of requests, and has done nothing.

    Clients see the code `backend_unavailable`.
    """

    backend_unresponsive = False
    is_throttled = True


class NovaItemNotFound(errors.BackendError):
    """Nova's own 404 that does not deny the server of the URL.

    It may be about the record of an action, a console, or the host of a new server.
    """


class CatalogItemNotFound(errors.BackendError):
    """Glance's or Neutron's own 404: the service has no such item, or shows it to another project.

    A response without a request id is not the service's.
    """


class OutcomeUnproven(errors.BackendTimeout):
    """A change got a response below 500 that proves nothing: the outcome is unknown.

    The response is not Nova's, cannot be read, or is about a part of the change. Clients see the
    code `backend_timeout`.
    """

    backend_unresponsive = False
