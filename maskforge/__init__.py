"""maskforge: training, labelling and deploying masks under one grammar of Python configs."""
__version__ = '0.1.0'

__all__ = ['__version__']
