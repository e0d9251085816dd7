"""Tests of what happens inside a generation and its workers."""
