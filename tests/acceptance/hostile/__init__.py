"""Clients that mean harm, each beside one that does not: its requests succeed, and no memory is kept of the others."""
