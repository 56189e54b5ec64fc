"""The batch job: results, resuming after a kill, broken images."""
import json

import pytest
from pycocotools.coco import COCO

from maskforge.inference import load_model, run_inference
from maskforge.inference.predictor import TorchPredictor


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_writes_pictures_and_a_coco_file(toy, photos, tmp_path, capfd):
    path = run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'out', batch_size=4, device='cpu')
    assert path == tmp_path / 'out' / 'predictions.json'
    files = sorted(content(tmp_path / 'out'))
    assert files == ['predictions.json', *(f'vis/{n}.png' for n in ('a/0', 'a/1', 'a/2', 'b/3', 'b/4', 'b/5'))]
    coco = COCO(str(path))
    assert len(coco.imgs) == 6 and len(coco.anns) == 18
    record = coco.anns[1]
    assert record['category_id'] in (17, 18) and set(record) >= {'score', 'bbox', 'segmentation', 'area'}
    assert coco.annToMask(record).sum() == record['area']


@pytest.mark.parametrize('kill_after', [0, 1, 2])
def test_a_killed_job_goes_on_and_ends_with_the_same_files(toy, photos, tmp_path, monkeypatch, kill_after):
    options = dict(batch_size=2, device='cpu')
    run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'whole', **options)
    predict, calls = TorchPredictor.predict, []

    def dies(self, prepared):
        calls.append(len(prepared))
        if len(calls) > kill_after:
            raise KeyboardInterrupt
        return predict(self, prepared)

    monkeypatch.setattr(TorchPredictor, 'predict', dies)
    with pytest.raises(KeyboardInterrupt):
        run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'cut', **options)
    assert not (tmp_path / 'cut' / 'predictions.json').exists()
    with (tmp_path / 'cut' / 'predictions.journal').open('a') as journal:
        journal.write('{"name": "b/4.png", "reco')  # the process died while writing a line
    seen = []
    monkeypatch.setattr(TorchPredictor, 'predict', lambda self, p: seen.append(len(p)) or predict(self, p))
    run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'cut', **options)
    assert sum(seen) == 6 - 2 * kill_after
    assert content(tmp_path / 'cut') == content(tmp_path / 'whole')


def test_another_job_in_the_same_folder_is_an_error(toy, photos, tmp_path, monkeypatch):
    def dies(self, prepared):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TorchPredictor, 'predict', dies)
        with pytest.raises(KeyboardInterrupt):
            run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'out', device='cpu')
    with pytest.raises(ValueError, match=r'results of another job \(score_thr was 0.3, now 0.5\).*resume=False'):
        run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'out', device='cpu', score_thr=0.5)
    assert run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'out', device='cpu', score_thr=0.5, resume=False)


def test_broken_images_are_named_counted_and_left_out(toy, photos, tmp_path, monkeypatch):
    (photos / 'a' / '1.png').write_bytes(b'broken')
    notes = []
    monkeypatch.setattr('maskforge.inference.batch_job.print_log', lambda text, **_: notes.append(text))
    path = run_inference(toy / 'toy.pth', photos, out_dir=tmp_path / 'out', batch_size=3, device='cpu')
    found = json.loads(path.read_text())
    assert [image['id'] for image in found['images']] == [1, 3, 4, 5, 6]
    assert any(note.startswith('skipped ') and '1.png' in note for note in notes)
    assert any('1 of 6 images could not be read and were left out: a/1.png' in note for note in notes)


def test_only_broken_images_are_an_error(toy, tmp_path):
    (tmp_path / 'x.png').write_bytes(b'broken')
    with pytest.raises(ValueError, match='none of the 1 images could be read'):
        run_inference(toy / 'toy.pth', tmp_path / 'x.png', out_dir=tmp_path / 'out', device='cpu')


def test_min_score_and_no_pictures(toy, photos, tmp_path):
    model, cfg = load_model(toy / 'toy.pth', device='cpu')
    path = run_inference(model, photos, cfg=cfg, out_dir=tmp_path / 'out', min_score=0.999, save_images=False)
    assert json.loads(path.read_text())['annotations'] == []
    assert list((tmp_path / 'out').iterdir()) == [path]


def test_onnx_file_gives_the_same_annotations(toy, photos, tmp_path):
    found = [json.loads(run_inference(toy / f'toy.{kind}', photos, out_dir=tmp_path / kind, batch_size=2).read_text())
             for kind in ('pth', 'onnx')]
    assert found[0]['images'] == found[1]['images']
    boxes = [[record['bbox'] for record in one['annotations']] for one in found]
    assert boxes[0] == boxes[1]
