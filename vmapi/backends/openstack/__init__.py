"""The driver for OpenStack; nothing outside this package imports the SDK of the cloud."""
