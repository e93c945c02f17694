"""The service as its users meet it: real processes, the real curl, raw sockets, and signals."""
