"""The package, as it is installed."""

from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

import build_backend
import millrace

from .test_cli import ROOT


class Package(unittest.TestCase):
    def test_wheel(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            wheel = pathlib.Path(folder) / build_backend.build_wheel(folder)
            with zipfile.ZipFile(wheel) as archive:
                names = set(archive.namelist())
                record = archive.read(f"millrace-{millrace.__version__}.dist-info/RECORD").decode()
            self.assertEqual({line.split(",")[0] for line in record.splitlines()}, names)
            self.assertIn("millrace/py.typed", names)
            code = "import millrace; print(millrace.__file__)"
            run = subprocess.run([sys.executable, "-c", code], cwd="/", env={"PYTHONPATH": str(wheel)}, capture_output=True)
            self.assertTrue(run.stdout.decode().startswith(str(wheel)), run.stderr)
            (pathlib.Path(folder) / build_backend.build_sdist(folder)).unlink()

    def test_everything_public_is_documented(self) -> None:
        for name in millrace.__all__:
            thing = getattr(millrace, name)
            if inspect.isclass(thing):
                self.assertTrue(thing.__doc__, name)
                for method, f in inspect.getmembers(thing, inspect.isfunction):
                    # What a spool does is said where that is asked for.
                    if not method.startswith("_") and f.__module__ != "millrace._spool":
                        self.assertTrue(inspect.getdoc(f), f"{name}.{method}")

    def test_nothing_but_the_standard_library(self) -> None:
        code = "import sys; before = set(sys.modules); import millrace; print(*(set(sys.modules) - before))"
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
        foreign = {m.partition(".")[0] for m in run.stdout.decode().split()} - sys.stdlib_module_names - {"millrace"}
        self.assertEqual(foreign, set())


if __name__ == "__main__":
    unittest.main()
