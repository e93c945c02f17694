"""Tests of messages as rows."""
