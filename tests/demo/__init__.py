"""Tests of the bundled Django project, without a server."""
