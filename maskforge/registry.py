"""The named registries of maskforge: children of MMEngine's, in the scope ``maskforge``.

A class registered here under the name of an MMEngine class replaces it wherever the default scope is
``maskforge``; everything else that MMEngine or a user registered stays reachable through the parents.
The rooms that register classes are imported at the first look-up, so that ``import maskforge`` stays cheap.
"""
import difflib

from mmengine import registry as _root
from mmengine.registry import Registry as _Registry

SCOPE = 'maskforge'


class Registry(_Registry):
    """MMEngine's registry, with a miss that names the nearest entries.

    ``get`` raises ``KeyError`` where MMEngine returns ``None`` or an error without a hint.
    """

    def get(self, key: str):
        """Return the class or function registered as ``key``; dotted import paths work as in MMEngine.

        Raises:
            KeyError: nothing has this name, here or in a parent; the message lists near names and the remedy.
        """
        try:
            found = super().get(key)
        except RuntimeError:
            found = None
        if found is None:
            raise KeyError(self._miss(key))
        return found

    def __contains__(self, key: str) -> bool:
        try:
            return self.get(key) is not None
        except KeyError:
            return False

    def known_names(self) -> list[str]:
        """Names that can be looked up without a scope, sorted: this registry's and its parents'."""
        self.import_from_location()
        names, registry = set(), self
        while registry is not None:
            names.update(registry.module_dict)
            registry = registry.parent
        return sorted(names)

    def _miss(self, key: str) -> str:
        near = difflib.get_close_matches(key.split('.')[-1], self.known_names(), n=3, cutoff=0.5)
        hint = f'did you mean {" or ".join(near)}?' if near else f'{len(self.known_names())} names are registered.'
        return (f"type='{key}' is not in the registry of {self.name}s: {hint} If it is your own class, register it "
                f"with a decorator and name its file in the config: custom_imports=dict(imports=['my_module']).")


def _child(name: str, *rooms: str) -> Registry:
    parent = getattr(_root, name)
    # build_func is inherited from the parent by MMEngine's Registry
    return Registry(parent.name, parent=parent, scope=SCOPE, locations=[f'{SCOPE}.{room}' for room in rooms])


RUNNERS = _child('RUNNERS', 'engine')
RUNNER_CONSTRUCTORS = _child('RUNNER_CONSTRUCTORS', 'engine')
LOOPS = _child('LOOPS', 'engine', 'export')
HOOKS = _child('HOOKS', 'engine')
STRATEGIES = _child('STRATEGIES', 'engine')
DATASETS = _child('DATASETS', 'datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'datasets')
TRANSFORMS = _child('TRANSFORMS', 'datasets')
MODELS = _child('MODELS', 'losses', 'layers', 'backbones', 'models', 'engine')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS', 'engine')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS', 'backbones')
OPTIMIZERS = _child('OPTIMIZERS', 'engine')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS', 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'engine')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS', 'engine')
METRICS = _child('METRICS', 'evaluation')
EVALUATOR = _child('EVALUATOR', 'evaluation')
TASK_UTILS = _child('TASK_UTILS', 'ops', 'losses', 'layers', 'models')
VISUALIZERS = _child('VISUALIZERS', 'visualization')
VISBACKENDS = _child('VISBACKENDS', 'visualization')
LOG_PROCESSORS = _child('LOG_PROCESSORS', 'engine')
INFERENCERS = _child('INFERENCERS', 'inference')
FUNCTIONS = _child('FUNCTIONS', 'datasets')
CHECKPOINT_LAYOUTS = Registry('checkpoint layout', scope=SCOPE, locations=[f'{SCOPE}.models', f'{SCOPE}.backbones'])

__all__ = ['SCOPE', 'Registry', *(name for name, value in list(globals().items()) if isinstance(value, Registry))]
