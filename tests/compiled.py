"""Compiled YAML as any release of kfp writes it, for tests that compare what is committed with what the source says."""

import re


def without_sdk_version(text):
    """The YAML less the one line in which kfp names its own version."""
    return re.sub(r"^sdkVersion: kfp-.*\n", "", text, flags=re.MULTILINE)
