"""What pyproject.toml can not say: an editable installation has the files of ``data-files`` too.

setuptools installs them with a wheel. For an editable one it asks its distribution whether it ``has_data``, beside
``has_headers`` and ``has_scripts``, but only ``has_data_files`` exists, so it leaves them out: without this, a checkout
would have neither JupyterLab's extension nor the Jupyter server's part of it. A test looks for both.
"""

from __future__ import annotations

from setuptools import Distribution, setup


class _Distribution(Distribution):
    def has_data(self) -> bool:
        """What ``editable_wheel`` asks before it runs ``install_data``."""
        return bool(self.has_data_files())


setup(distclass=_Distribution)
