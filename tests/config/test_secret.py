"""The encryption key of a config shows in no text that is made of it."""
import copy
import json
import pickle

import pytest

from maskforge.config import Config, Secret, explain, load_config

KEY = 'correct horse'


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text(f"passphrase = '{KEY}'\nencryption_key = passphrase\nmodel = dict(type='A')\n")
    return path


def test_the_key_is_held_and_not_shown(path, tmp_path):
    cfg = load_config(path)
    assert isinstance(cfg.encryption_key, Secret) and cfg.encryption_key.reveal() == KEY
    for name in ('dumped.py', 'dumped.json', 'dumped.yaml'):
        cfg.dump(tmp_path / name)
    texts = [cfg.pretty_text, repr(cfg), str(cfg), f'{cfg.encryption_key}', cfg.text, json.dumps(cfg.to_dict()),
             explain(path, 'encryption_key'), *((tmp_path / name).read_text() for name in
                                                ('dumped.py', 'dumped.json', 'dumped.yaml'))]
    assert [text for text in texts if KEY in text] == []
    assert load_config(tmp_path / 'dumped.py').encryption_key.reveal() == '***'


@pytest.mark.parametrize('change', [copy.copy, copy.deepcopy, lambda cfg: pickle.loads(pickle.dumps(cfg)),
                                    lambda cfg: Config(dict(cfg._cfg_dict))])
def test_copies_hold_it_too(path, change):
    changed = change(load_config(path))
    assert changed.encryption_key.reveal() == KEY and KEY not in repr(changed) + changed.pretty_text


def test_no_key_is_no_secret():
    assert Config(dict(encryption_key=None)).encryption_key is None
    assert 'encryption_key = None' in Config(dict(encryption_key=None)).pretty_text


def test_a_typing_error_in_its_line(tmp_path):
    (tmp_path / 'a.py').write_text(f"encryption_key = '{KEY}\n")
    with pytest.raises(ValueError, match=r'a\.py:1: syntax error: .*: encryption_key \.\.\.$') as caught:
        load_config(tmp_path / 'a.py')
    assert KEY not in str(caught.value)


@pytest.mark.parametrize('option', [f'encryption_key={KEY}', f'encryption_key=[{KEY}', f' encryption_key={KEY}'])
def test_not_on_a_command_line(path, option):
    with pytest.raises(ValueError, match='--key-file FILE or the environment variable MASKFORGE_KEY') as caught:
        load_config(path, options=[option])
    assert KEY not in str(caught.value)
