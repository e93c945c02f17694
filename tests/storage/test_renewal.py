"""Renewing: files of an upload that is still arriving never look forgotten."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage.errors import FileMissing
from storage.file_store import Key, new_source_key
from storage.local_files import LocalFiles


def old_file(store: LocalFiles, root: Path) -> Key:
    part = store.create(new_source_key())
    part.write([b"bytes"])
    part.commit()
    os.utime(root / part.key, (1, 1))
    return part.key


def test_a_renewed_file_counts_as_modified_now(tmp_path: Path) -> None:
    store = LocalFiles(tmp_path)
    renewed, other = old_file(store, tmp_path), old_file(store, tmp_path)
    began = time.time()
    store.renew([renewed])
    ages = {file.key: file.modified_at for file in store.files()}
    assert ages[renewed] >= began - 1
    assert ages[other] == 1


def test_a_file_that_is_gone_cannot_be_renewed(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        LocalFiles(tmp_path).renew([new_source_key()])
