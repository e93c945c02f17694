"""Rules of HTTP that any answer may need: what clients prefer, preconditions, ranges, digests, cookies, safe headers.

Imports ``errors``; never a route, the database, or what a job is.
"""
