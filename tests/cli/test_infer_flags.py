"""The flags of ``maskforge infer`` reach the job."""
import json

import pytest

import maskforge.inference
from maskforge.cli import infer


@pytest.fixture
def job(monkeypatch, tmp_path):
    """Options of the last job."""
    given = {}
    monkeypatch.setattr(maskforge.inference, 'run_inference',
                        lambda model, inputs, **options: given.update(options, inputs=inputs) or tmp_path)
    (tmp_path / 'm.onnx').write_bytes(b'')
    given['words'] = [str(tmp_path / 'm.onnx'), 'one', 'two']
    return given


@pytest.mark.parametrize(('words', 'expected'), [
    ([], dict(conf_threshold=None, labels=False, color_map=None, outline_width=None, classmap=None, tta=False,
              inputs=['one', 'two'])),
    (['--conf-threshold', '0.5', '--labels', '--tta'], dict(conf_threshold=0.5, labels=True, tta=True)),
    (['--outline-width', '3', '--classmap', 'c.txt'], dict(outline_width=3, classmap='c.txt')),
    (['--color-map', 'traffic light=red', 'a=b=0,255,0', 'x=#00ff00'],
     dict(color_map={'traffic light': 'red', 'a=b': [0, 255, 0], 'x': '#00ff00'})),
])
def test_flags(job, words, expected):
    assert infer.main(job['words'] + words) == 0
    assert {key: job[key] for key in expected} == expected


def test_color_map_from_a_file(job, tmp_path):
    (tmp_path / 'colors.json').write_text(json.dumps(dict(cat=[1, 2, 3])))
    assert infer.main([*job['words'], '--color-map', str(tmp_path / 'colors.json')]) == 0
    assert job['color_map'] == dict(cat=[1, 2, 3])


def test_a_bad_color_map(job, capsys):
    assert infer.main([*job['words'], '--color-map', 'red', 'car=blue']) != 0
    assert "--color-map 'red': give CLASS=COLOUR" in capsys.readouterr().err
