"""Optimizer wrappers and the constructors that make parameter groups."""
from .amp_optim_wrapper import AmpOptimWrapper
from .gradient_clipping import GradientClipping
from .layer_decay import LayerDecayOptimWrapperConstructor
from .optim_wrapper import OptimWrapper
from .optim_wrapper_constructor import DefaultOptimWrapperConstructor
from .optimizer_class import optimizer_class
from .pattern_optim_wrapper_constructor import PatternOptimWrapperConstructor

__all__ = ['AmpOptimWrapper', 'DefaultOptimWrapperConstructor', 'GradientClipping', 'LayerDecayOptimWrapperConstructor',
           'OptimWrapper', 'PatternOptimWrapperConstructor', 'optimizer_class']
