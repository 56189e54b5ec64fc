"""Checkpoints in parts: folders that convert into files and back, and say what is missing."""
import pytest
import torch

from maskforge.checkpoints import find_latest, is_whole, load_checkpoint, save_checkpoint, write_last_checkpoint
from maskforge.checkpoints.leftovers import remove_leftovers
from maskforge.checkpoints.sharded_checkpoint import divide_checkpoint, is_sharded_checkpoint, save_sharded, take_apart
from maskforge.cli.convert_checkpoint import main


def checkpoint():
    torch.manual_seed(0)
    weights = dict(weight=torch.randn(5, 3), bias=torch.randn(1), step=torch.tensor(3), empty=torch.zeros(0, 4))
    state = {0: dict(exp_avg=torch.randn(5, 3), step=torch.tensor(7.)), 1: dict(exp_avg=None)}
    return dict(meta=dict(iter=3, epoch=1, names=('a', 'b')), state_dict=weights,
                random_state=[dict(torch=torch.ones(9))], optimizer=dict(
                    state=state, param_groups=[dict(lr=0.1, betas=(0.9, 0.99), params=[0, 1])]))


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other) and one.dtype == other.dtype
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other):
            assert_same(mine, theirs)
    else:
        assert one == other


@pytest.mark.parametrize('parts', [1, 2, 4, 7])
def test_parts_are_the_checkpoint(tmp_path, parts):
    folder = divide_checkpoint(checkpoint(), tmp_path / 'iter_3', parts)
    assert len(list(folder.iterdir())) == parts + 1 and is_sharded_checkpoint(folder) and is_whole(folder)
    assert_same(load_checkpoint(folder), checkpoint())
    assert [path.name for path in tmp_path.iterdir()] == ['iter_3']  # nothing temporary is left


def test_a_process_writes_its_part(tmp_path):
    def piece(value):
        return (value, 0) if isinstance(value, torch.Tensor) and value.dim() else None

    pieces = {}
    index = take_apart(checkpoint(), piece, pieces)
    assert index['state_dict']['weight'] == dict(sharded='state_dict/weight', dim=0)
    assert set(pieces) >= {'state_dict/weight', 'optimizer/state/0/exp_avg', 'random_state/0/torch'}
    folder = save_sharded(index, pieces, tmp_path / 'iter_3')
    save_sharded(index, pieces, folder)  # an older one of the name is replaced
    assert_same(load_checkpoint(folder), checkpoint())


def test_what_is_missing_or_torn_is_named(tmp_path):
    folder = divide_checkpoint(checkpoint(), tmp_path / 'iter_3', 2)
    part = folder / 'part_1_of_2.pth'
    content = part.read_bytes()
    part.write_bytes(content[:-200])
    assert not is_whole(folder)
    with pytest.raises(ValueError, match=r'part_1_of_2\.pth is torn'):
        load_checkpoint(folder)
    part.unlink()
    assert not is_whole(folder)
    with pytest.raises(ValueError, match=r'part_1_of_2\.pth of its 2 parts are missing'):
        load_checkpoint(folder)
    (folder / 'index.pth').unlink()
    assert not is_whole(folder)
    with pytest.raises(ValueError, match=r'index\.pth is missing'):
        load_checkpoint(folder)


def test_other_folders_are_no_checkpoints(tmp_path):
    assert not is_sharded_checkpoint(tmp_path) and not is_whole(tmp_path)
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(FileNotFoundError, match=r'not one of a checkpoint in parts; in it are notes\.txt'):
        load_checkpoint(tmp_path)
    save_checkpoint(dict(meta={}), tmp_path / 'index.pth')
    with pytest.raises(ValueError, match='no index of a sharded checkpoint'):
        load_checkpoint(tmp_path)


def test_the_newest_may_be_a_folder(tmp_path):
    save_checkpoint(checkpoint(), tmp_path / 'iter_1.pth')
    newest = divide_checkpoint(checkpoint(), tmp_path / 'iter_2', 2)
    assert find_latest(tmp_path) == newest  # by its time
    write_last_checkpoint(tmp_path, newest)
    assert find_latest(tmp_path) == newest
    (newest / 'part_0_of_2.pth').unlink()
    assert find_latest(tmp_path) == tmp_path / 'iter_1.pth'


def test_what_a_killed_run_left_is_removed(tmp_path):
    divide_checkpoint(checkpoint(), tmp_path / 'iter_3', 2)
    (tmp_path / 'iter_3').rename(tmp_path / '.iter_3.parts')
    (tmp_path / '.git.link').mkdir()
    assert remove_leftovers(tmp_path) == ['.iter_3.parts']
    assert [path.name for path in tmp_path.iterdir()] == ['.git.link']


def test_remote_places_take_whole_checkpoints():
    with pytest.raises(ValueError, match="checkpoint='full'"):
        save_sharded({}, {}, 's3://bucket/iter_1')


def test_command(tmp_path, capsys):
    save_checkpoint(checkpoint(), tmp_path / 'whole.pth')
    assert main([str(tmp_path / 'whole.pth'), str(tmp_path / 'iter_3'), '--parts', '3']) == 0
    assert main([str(tmp_path / 'iter_3'), str(tmp_path / 'again.pth')]) == 0
    assert_same(load_checkpoint(tmp_path / 'again.pth'), checkpoint())
    capsys.readouterr()
    assert main([str(tmp_path / 'iter_3'), str(tmp_path / 'again.pth')]) != 0
    assert 'is there already' in capsys.readouterr().err
    assert main([str(tmp_path / 'iter_3'), str(tmp_path / 'folder')]) != 0
    assert '--parts N' in capsys.readouterr().err
    assert main([str(tmp_path / 'whole.pth'), str(tmp_path / 'folder'), '--parts', '0']) != 0
    assert 'at least 1' in capsys.readouterr().err
