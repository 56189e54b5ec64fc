import pytest

from maskforge.analysis import flops


@pytest.mark.parametrize(('shape', 'height', 'width'), [((32, 48), 32, 48), ([40], 40, 40), (40, 40, 40)])
def test_counts_by_hand(shapes, shape, height, width):
    found = flops.run(shapes, shape=shape)
    # 3x3 convolution 3 -> 4 and 1x1 convolution 4 -> 2, a multiply-add is two operations
    macs = height * width * (4 * 3 * 9 + 2 * 4)
    assert found['shape'] == (height, width)
    assert found['gmacs'] == pytest.approx(macs / 1e9) and found['gflops'] == pytest.approx(2 * macs / 1e9)
    assert found['parameters'] == found['trainable'] == 4 * 3 * 9 + 4 + 2 * 4 + 2


def test_modules_that_are_only_lists_are_summed(shapes):
    rows = {name: (gflops, count) for name, gflops, count in flops.run(shapes, shape=(10, 10))['by_module']}
    assert rows['parts'] == rows['parts.0'] == (pytest.approx(2 * 100 * 8 / 1e9), 10)
    assert list({row[0] for row in flops.run(shapes, shape=(10, 10), depth=1)['by_module']} - {'conv'}) == ['parts']


@pytest.mark.parametrize('shape', [(0, 5), (1, 2, 3), -3])
def test_wrong_shape(shapes, shape):
    with pytest.raises(ValueError, match='height and width'):
        flops.run(shapes, shape=shape)
