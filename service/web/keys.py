"""Who may do what: the job id looks and downloads, the manage key changes its job, the admin token does everything.

A manage key is derived from the job id and a secret in the data folder, so that a request repeated with the same
``Idempotency-Key`` is given the same key again. Only digests of manage keys are stored, and they decide.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b

from starlette.requests import Request

from service.errors import ADMIN_ONLY, CROSS_SITE, KEY_NEEDED, ServiceError
from service.intake.commands import is_key
from service.web.guesses import Guesses
from service.web.page.manage_cookie import kept_keys
from service.web.sites import tells_its_site
from storage.ids import base32

MANAGE_KEY_HEADER = "Vacpack-Manage-Key"
JOB_ID_HEADER = "Vacpack-Job-Id"
"""Of every 202 to an upload, whatever its form; no other answer has them."""


class Keys:
    """Makes manage keys, and checks what requests bring."""

    def __init__(self, *, admin_token: str, secret: bytes, guesses: Guesses | None = None) -> None:
        """``guesses`` counts what opens nothing."""
        self._admin_token = admin_token
        self._secret = secret
        self._guesses = guesses

    def manage_key(self, job_id: str) -> str:
        """Return the job's manage key: 128 bits as 26 base32 characters."""
        # Keyed BLAKE2 (RFC 7693, 2.9): unlike OpenSSL's HMAC it does not let go of the interpreter, which beside busy
        # writer threads costs far more than the digest.
        digest = blake2b(job_id.encode(), key=self._secret, digest_size=16, person=b"vacpack manage").digest()
        return base32(digest)

    def is_admin(self, request: Request) -> bool:
        """Return whether the request brings the admin token, where no log, history or other page finds it.

        For the audit only: an answer that depends on it would tell who guesses, uncounted.
        """
        given = _bearer(request)
        return given is not None and hmac.compare_digest(given.encode(), self._admin_token.encode())

    def opens_as_admin(self, request: Request) -> bool:
        """Return whether the request brings the admin token, and count one that is wrong: for what only shows more.

        Raises:
            ServiceError: too_many_guesses, as ``check_admin``.
        """
        return self._opens(request, self.is_admin(request))

    def check_admin(self, request: Request) -> None:
        """Raise admin_only unless the request brings the admin token; too_many_guesses before it is looked at."""
        if not self.opens_as_admin(request):
            detail = "Send Authorization: Bearer with the admin token, which lies in the data folder."
            raise ServiceError(ADMIN_ONLY, detail, headers={"WWW-Authenticate": "Bearer"})

    def may_manage(self, request: Request, manage_key_digest: str) -> bool:
        """Return whether the request may change the job whose key has this digest."""
        bearer = _bearer(request)
        if bearer is not None:
            return self._opens(request, is_key(bearer, manage_key_digest) or self.is_admin(request))
        named = request.query_params.get("key")
        given = (named,) if named else kept_keys(request)
        return any(is_key(key, manage_key_digest) for key in given)

    def check_manage(self, request: Request, manage_key_digest: str) -> None:
        """Raise unless the request may change the job whose key has this digest.

        Raises:
            ServiceError: key_needed; cross_site where only a cookie allows a change and nothing says which page asked.
        """
        if not self.may_manage(request, manage_key_digest):
            detail = "Send the manage_key from the upload's answer, as Authorization: Bearer or ?key=."
            raise ServiceError(KEY_NEEDED, detail)
        brings_key = _bearer(request) is not None or request.query_params.get("key")
        if brings_key or request.method in ("GET", "HEAD"):
            return
        if not tells_its_site(dict(request.scope["headers"])):
            raise ServiceError(CROSS_SITE, "A cookie counts only where the browser says which page sent the request.")

    def _opens(self, request: Request, is_right: bool) -> bool:
        """Return this, and count a bearer that is not right; whoever has tried too often is told neither.

        Raises:
            ServiceError: too_many_guesses.
        """
        if self._guesses is not None and _bearer(request) is not None:
            self._guesses.check(request)
            if not is_right:
                self._guesses.count(request)
        return is_right


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
