"""Tests of file names at the doors."""
