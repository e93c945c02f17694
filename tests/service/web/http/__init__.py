"""Tests of the rules of HTTP."""
