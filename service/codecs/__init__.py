"""Bytes smaller and back: the table of codecs, archives of several files, and the pieces both are made of.

Imports nothing of ``service`` but itself and ``values``; never a setting, a file, or the database: streams in, streams
out.
"""
