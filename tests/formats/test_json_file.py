import os

import pytest

from maskforge.formats import json_file
from maskforge.formats.atomic_file import write_atomically


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'a.json'
    json_file.write_json(dict(a=1), path)
    with pytest.raises(TypeError):
        json_file.write_json(dict(a=object()), path)
    with pytest.raises(TypeError):
        write_atomically(path, lambda stream: stream.write('text'))
    assert json_file.read_json(path) == dict(a=1) and os.listdir(tmp_path) == ['a.json']


def test_other_users_can_read_what_was_written(tmp_path):
    json_file.write_json([], tmp_path / 'a.json')
    (tmp_path / 'plain').write_text('')
    assert (tmp_path / 'a.json').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='is a folder'):
        json_file.read_json(tmp_path)
