"""The bodies of event streams, and the format of server-sent events."""
