"""Who may change a job: whoever holds its manage key, or the admin token."""

from __future__ import annotations

from starlette.requests import Request

from service.errors import JOB_EXPIRED, ServiceError
from service.web.answers import tags_of
from service.web.audited import Audited
from service.web.http.preconditions import check_change
from service.web.parts import Parts, parts_of
from storage.errors import JobNotFound
from storage.ids import is_job_id


def managed(request: Request, job_id: str, audit: Audited | None, *, is_live: bool = False) -> Parts:
    """Return the parts, if the request may change this job, and have that audited.

    An expired job is still there, to be deleted or looked into; ``is_live`` asks for one that is not. A change may be
    for one version of the job only: ``If-Match`` names the entity tag of its status.

    Raises:
        JobNotFound, ServiceError: key_needed, job_expired, precondition_failed.
    """
    parts = parts_of(request)
    snapshot = parts.board.get(job_id) if is_job_id(job_id) else None
    if snapshot is None:
        raise JobNotFound(job_id)
    parts.keys.check_manage(request, snapshot.row["manage_key_digest"])
    if audit is not None:
        audit.holds_manage_key()
    if is_live and snapshot.is_expired:
        raise ServiceError(JOB_EXPIRED, "Its time was over, and its files were removed.")
    if request.method not in ("GET", "HEAD"):
        check_change(request, *tags_of(snapshot))
    return parts
