"""The ``maskforge`` command: ``maskforge VERB ...``. Each verb is a module of this room with a ``main``."""
import difflib
import importlib
import sys

from maskforge import __version__

VERBS = {
    'quickstart': ('quickstart', 'draw a data set, then train, test, export and infer on it'),
    'retention': ('retention', 'pseudo-masks against truth: the same training on both (MAL)'),
    'train': ('train', 'train a model'),
    'test': ('test', 'evaluate a checkpoint or an ONNX file'),
    'infer': ('infer', 'draw and write predictions for images and folders'),
    'label': ('label', 'masks for the boxes of a data set (MAL, SAM 2)'),
    'track': ('track', 'follow objects through a video (SAM 2)'),
    'eval-clicks': ('eval_clicks', 'videos segmented by simulated clicks, round by round (SAM 2)'),
    'export': ('export', 'write and check an ONNX file'),
    'convert': ('convert', 'bring annotations into COCO JSON'),
    'video-lists': ('video_lists', 'divide a folder of videos into training and validation lists'),
    'check-data': ('check_data', 'list the defects of a COCO JSON file'),
    'browse': ('browse', 'one page with the annotations of a data set drawn'),
    'draw-video': ('draw_video', 'masks drawn on the frames of a video: MP4 or pictures'),
    'config': ('config', 'print, lint, explain, list and copy configs'),
    'analyze-logs': ('analyze_logs', 'curves of losses and metrics'),
    'benchmark': ('benchmark', 'throughput and memory'),
    'flops': ('flops', 'parameters and floating-point operations'),
    'eval-vos': ('eval_vos', 'J&F of predicted masks of videos'),
    'confusion-matrix': ('confusion_matrix', 'which classes are taken for which'),
    'publish': ('publish', 'strip a checkpoint to its weights and name it by its hash'),
    'encrypt': ('encrypt', 'encrypt or decrypt a checkpoint or an ONNX file, or change its key'),
    'convert-checkpoint': ('convert_checkpoint', 'a checkpoint in parts into one file, and back'),
    'doctor': ('doctor', 'versions, devices and known problems of this machine'),
}


def usage() -> str:
    """The text of ``maskforge --help``."""
    width = max(len(name) for name in VERBS)
    rows = '\n'.join(f'  {name:<{width}}  {text}' for name, (_, text) in VERBS.items())
    return (f'usage: maskforge VERB [arguments]\n\nmaskforge {__version__}: training, labelling and deploying masks\n\n'
            f'verbs:\n{rows}\n\nmaskforge VERB --help lists the arguments of a verb')


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code; an unknown verb is 2."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ('-h', '--help', 'help'):
        print(usage())
        return 0 if argv else 2
    if argv[0] in ('-V', '--version'):
        print(f'maskforge {__version__}')
        return 0
    name = argv[0].replace('_', '-')
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, n=2, cutoff=0.5)
        hint = f'did you mean {" or ".join(near)}?' if near else f'verbs are {", ".join(VERBS)}'
        print(f"maskforge: error: there is no verb '{argv[0]}'; {hint}", file=sys.stderr)
        return 2
    return importlib.import_module(f'maskforge.cli.{VERBS[name][0]}').main(argv[1:])


if __name__ == '__main__':
    sys.exit(main())
