"""Flavors, images and networks, and the projects that may use each."""
