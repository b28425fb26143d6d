"""A vault on a network file system: refused before anything is written, with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenkeep.errors import StoreUnavailable
from tokenkeep.vault.mounts import require_local

pytestmark = pytest.mark.requires("/proc")


def mounts(tmp_path: Path, *mounted: tuple[Path, str]) -> str:
    """A list as proc_pid_mountinfo(5) has it: a root of ext4, and what is mounted above it."""
    lines = ["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"]
    for number, (where, kind) in enumerate(mounted, 23):
        place = str(where).replace(" ", "\\040")
        lines.append(f"{number} 22 0:{number} / {place} rw shared:{number} - {kind} server:/x rw")
    place = tmp_path / "mountinfo"
    place.write_text("\n".join(lines) + "\n")
    return str(place)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "fuse.rclone", "9p"])
def test_network_file_system_is_named(tmp_path: Path, kind: str) -> None:
    """At the vault's own place, at any folder above it, and with a blank in its path."""
    share = tmp_path / "a share"
    for path in (share, share / "deep" / "vault"):
        with pytest.raises(StoreUnavailable, match=kind) as caught:
            require_local(str(path), mounts(tmp_path, (share, kind)))
        assert "choose a path on a local disk" == caught.value.hint


def test_local_disk_passes(tmp_path: Path) -> None:
    """Beside a share, on a disk that is mounted inside of one, and with a similar name."""
    share = tmp_path / "share"
    listed = mounts(tmp_path, (share, "nfs"), (share / "disk", "xfs"), (tmp_path / "x", "fuseblk"))
    for path in (tmp_path / "vault", share / "disk" / "vault", tmp_path / "share2", tmp_path / "x"):
        require_local(str(path), listed)
    with pytest.raises(StoreUnavailable):
        require_local(str(share / "vault"), listed)


def test_link_to_a_share_is_a_share(tmp_path: Path) -> None:
    """What counts is where the vault lies, not what it is called."""
    share = tmp_path / "share"
    share.mkdir()
    (tmp_path / "link").symlink_to(share)
    with pytest.raises(StoreUnavailable):
        require_local(str(tmp_path / "link" / "vault"), mounts(tmp_path, (share, "nfs")))


def test_system_that_does_not_tell_forbids_nothing(tmp_path: Path) -> None:
    """What the list of mounts forbids passes without one."""
    with pytest.raises(StoreUnavailable):
        require_local(str(tmp_path), mounts(tmp_path, (tmp_path, "nfs")))
    require_local(str(tmp_path), str(tmp_path / "not there"))
