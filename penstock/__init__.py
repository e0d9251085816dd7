"""Penstock: an application server and deployment tool for Python web projects."""

__version__ = "0.1.0"
