"""Failed requests to the cloud, and their errors of `vmapi.errors`."""
