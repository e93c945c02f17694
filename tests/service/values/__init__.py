"""Tests of reading values."""
