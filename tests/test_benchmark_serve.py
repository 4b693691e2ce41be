"""The benchmark of the server runs, where its load tool is installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run

pytest.importorskip("fastapi")


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_it_prints_a_row_for_each_server_and_number_of_clients(tiny_model: Path) -> None:
    options = ("--model", tiny_model, "--clients", "1,4", "--seconds", "1", "--without", "full")
    done = run(sys.executable, ROOT / "benchmarks" / "serve.py", *options)
    assert done.returncode == 0, done.stderr.decode()
    rows = [line.split() for line in done.stdout.decode().splitlines() if line.startswith(("serve ", "plain "))]
    assert [(row[0], row[1]) for row in rows] == [("serve", "1"), ("serve", "4"), ("plain", "1"), ("plain", "4")]
    assert [row[-3] == "-" for row in rows] == [False, False, True, True]
    for row in rows:
        assert float(row[2]) > 0
        assert row[-2:] == ["0", "0"]  # nothing was refused or broken
