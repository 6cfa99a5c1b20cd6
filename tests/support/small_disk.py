"""A small file system that a test can fill: a tmpfs of a few MiB, never the disk of the machine."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DISK_BYTES = 8 * 1024 * 1024
BLOCK_BYTES = 1024


class SmallDisk:
    """A mounted file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Write a file until the file system has no room."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT)
        try:
            for _ in range(DISK_BYTES // BLOCK_BYTES + 1):
                os.write(descriptor, bytes(BLOCK_BYTES))
        except OSError:
            return
        finally:
            os.close(descriptor)
        raise AssertionError(f"{self.folder} takes more than {DISK_BYTES} bytes")

    def free(self) -> None:
        """Delete the file of `fill`."""
        self._ballast.unlink()


@contextmanager
def mount_small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small file system at a folder during the block; skip the test without root."""
    folder.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "vmapi-test", str(folder))
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True)
