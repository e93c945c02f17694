"""Tests of the harness behind docs/benchmarks.md."""
