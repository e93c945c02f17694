"""Tests of jobs as rows."""
