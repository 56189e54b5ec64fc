"""The Config that maskforge passes around: MMEngine's, with a dump that always works and a memory of its files."""
from pathlib import Path
from typing import Any

from mmengine.config import Config as _Config

from .config_file import ConfigFile
from .config_text import config_text
from .keys import FRAMEWORK_KEYS, VARIABLES_COMMENT
from .secret import MASK, Secret, hide_secrets


class Config(_Config):
    """``mmengine.Config`` whose text never fails and never shows secrets.

    MMEngine formats the text with yapf, which refuses every config that holds a function or an object
    (mmengine 0.10.7: ``SyntaxError: Failed to format the config file`` at the start and at each checkpoint).
    The encryption key is held as a :class:`~maskforge.config.secret.Secret`; back ends that send the config away
    (``to_dict``, ``dump``) get ``'***'``.
    """

    def __init__(self, cfg_dict: dict | None = None, *positional: Any, **settings: Any) -> None:
        super().__init__(hide_secrets(cfg_dict) if isinstance(cfg_dict, dict) else cfg_dict, *positional, **settings)
        for secret in (value.reveal() for value in dict.values(self._cfg_dict) if isinstance(value, Secret)):
            self.__dict__['_text'] = self._text.replace(str(secret), MASK)  # MMEngine keeps the file's text

    def to_dict(self, keep_imported: bool = False) -> dict[str, Any]:
        """The values as plain dicts, secrets masked."""
        values = super().to_dict(keep_imported)
        return {key: MASK if isinstance(value, Secret) else value for key, value in values.items()}

    @property
    def pretty_text(self) -> str:
        """The config as Python source that loads back to equal values; secrets are masked."""
        values = self.to_dict()
        variables = sorted(str(key) for key in values if key not in FRAMEWORK_KEYS)
        head = f'{VARIABLES_COMMENT} {", ".join(variables)}\n' if variables else ''
        return head + config_text(values)

    @property
    def origin(self) -> ConfigFile | None:
        """The file that was loaded, with its bases; None for configs made from dicts or unpickled."""
        return self.__dict__.get('_origin')

    @property
    def option_keys(self) -> dict[str, Any]:
        """Dotted keys that were set on the command line, after renaming of old ones."""
        return self.__dict__.get('_option_keys', {})

    def remember(self, origin: ConfigFile | None, options: dict[str, Any]) -> None:
        """Keep where the values came from, for ``explain`` and the linter."""
        self.__dict__['_origin'] = origin
        self.__dict__['_option_keys'] = dict(options)

    def dump(self, file: str | Path | None = None) -> str | None:
        """Write the config to ``file`` (by its suffix), or return its Python text."""
        if file is None or str(file).endswith('.py'):
            text = self.pretty_text
            if file is None:
                return text
            Path(file).write_text(text, encoding='utf-8')
            return None
        return super().dump(file)
