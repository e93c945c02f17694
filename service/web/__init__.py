"""HTTP only: parse a request, call the service, render the answer. Nothing here decides what a job is."""
