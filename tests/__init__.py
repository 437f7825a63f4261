"""In a checkout that is installed these lie on everyone's path, behind a user's own `tests`."""

from pkgutil import extend_path

__path__ = extend_path([], __name__)
