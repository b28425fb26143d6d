"""Whether a vault lies on a disk of this machine, as SQLite's locks and shared memory need."""

from __future__ import annotations

import os
import sys

from tokenkeep.errors import StoreUnavailable

_NETWORK_FILE_SYSTEMS = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs",
     "davfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.curlftpfs", "fuse.davfs", "fuse.davfs2",
     "fuse.gcsfuse", "fuse.glusterfs", "fuse.gvfsd-fuse", "fuse.rclone", "fuse.s3fs",
     "fuse.smbnetfs", "fuse.sshfs")
)  # fmt: skip


def require_local(path: str, mounts: str = "/proc/self/mountinfo") -> None:
    """Ends an attempt to write a vault where SQLite's locks and shared memory do not work.

    Linux alone is asked; elsewhere everything passes.

    Args:
        mounts: the file in which the system tells what is mounted where (proc_pid_mountinfo(5)).

    Raises:
        StoreUnavailable: the path is on a network file system.
    """
    if sys.platform != "linux":
        return
    kind = _file_system(os.path.realpath(path), mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise StoreUnavailable(
            f"a vault cannot lie on a network file system ({kind}): {path}",
            hint="choose a path on a local disk",
        )


def _file_system(path: str, mounts: str) -> str:
    """The type of the file system that a real path lies on; "" if the system does not tell."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        before, _dash, after = line.partition(" - ")
        mount = before.split(" ")[4].replace("\\040", " ")
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):  # a later mount hides an earlier one
            best, kind = mount, after.split(" ")[0]
    return kind
