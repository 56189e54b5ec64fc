"""The front end to MMEngine's configs: loading, typed options, old keys, checks, provenance, text."""
from .check_keys import check_keys
from .config import Config
from .config_text import config_text
from .explain import explain
from .finding import Finding
from .lint import lint_config
from .load import import_custom_modules, load_config
from .options import parse_options, parse_value
from .packages import find_config, shipped_configs, shipped_configs_dir
from .secret import MASK, Secret

__all__ = ['MASK', 'Config', 'Finding', 'Secret', 'check_keys', 'config_text', 'explain', 'find_config',
           'import_custom_modules', 'lint_config', 'load_config', 'parse_options', 'parse_value', 'shipped_configs',
           'shipped_configs_dir']
