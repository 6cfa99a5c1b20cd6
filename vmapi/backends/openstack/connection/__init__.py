"""HTTP with the cloud: the session, deadlines, endpoints, and complete lists."""
