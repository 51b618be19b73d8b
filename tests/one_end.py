"""Tests that prove the same at either end of the supported range, and take long: they run at the newer one."""

from importlib.metadata import version

import pytest

at_the_newer_end = pytest.mark.skipif(version("keras").startswith("2."), reason="OLDER END: the newer one proves it")
