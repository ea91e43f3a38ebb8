"""Where an artifact's URI is mounted, and what kind of mount it is.

Kubeflow's launcher gives a disk and copies what is left there; Vertex AI mounts the bucket itself with FUSE. A bucket keeps few
of a disk's promises: what is written is there once the file is closed and not before, folders cannot be renamed, owners and modes
are fixed.
"""

import os
from pathlib import Path

MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
_TABLE = Path("/proc/self/mountinfo")  # of Linux; see proc(5)


def local_path(uri: str, custom_path: str = "") -> Path:
    """Where the launcher put what `uri` names: gs://b/x is /gcs/b/x, and so on; a plain path is itself."""
    if custom_path:
        return Path(custom_path)
    for scheme, mount in MOUNTS.items():
        if uri.startswith(scheme):
            return Path(mount) / uri[len(scheme) :]
    return Path(uri.removeprefix("file://"))


def bucket_uri(path: Path) -> str:
    """gs://b/x for /gcs/b/x; '' for a path elsewhere."""
    mount = MOUNTS["gs://"]
    return f"gs://{str(path)[len(mount) :]}" if str(path).startswith(mount) else ""


def on_fuse(path: Path) -> bool:
    """Whether the path is below a FUSE mount; a container's own root is none, whatever it is made of."""
    try:
        table = _TABLE.read_text()
    except OSError:
        return False
    place, longest, kind = os.path.realpath(path), "/", ""
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].encode().decode("unicode_escape")  # a space in it is \040
        if (place == point or place.startswith(f"{point}/")) and len(point) >= len(longest) and point != "/":
            longest, kind = point, after.split(" ")[0]
    return kind == "fuse" or kind.startswith("fuse.")
