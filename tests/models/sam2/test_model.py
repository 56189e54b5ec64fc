"""The model in steps, checkpoints and predictions."""
import numpy as np
import pytest
import torch
from interrupted_runs import Interrupted
from mmengine.structures import InstanceData
from tiny_clips import ALWAYS, ONE_FRAME, clip_sample, drawn_masks, gradients, losses_of, tiny_batch, tiny_sam2, total
from tiny_sam2 import TINY
from torch.utils.data import Dataset

from maskforge.checkpoints import load_checkpoint
from maskforge.engine import Runner
from maskforge.engine.optim.amp_optim_wrapper import AmpOptimWrapper
from maskforge.models.sam2 import SAM2
from maskforge.registry import DATASETS, MODELS
from maskforge.structures import ClipSample, DetDataSample, InstanceMasks, VideoFrames, VideoMasks

CLICKS = dict(prompts=dict(**ALWAYS['clicks'], **ONE_FRAME, num_correction_pt_per_frame=1))


def absent_everywhere(model):
    """Make the network say that nothing is to be seen."""
    head = model.network.sam_mask_decoder.pred_obj_score_head
    with torch.no_grad():
        head.layers[-1].bias.fill_(-50.)
    return model


@pytest.mark.parametrize(('ungated', 'spike'), [(False, True), (True, False)])
def test_an_object_that_is_wrongly_taken_for_absent(ungated, spike):
    model = absent_everywhere(tiny_sam2(**CLICKS, loss=dict(ungated=ungated)))
    batch = tiny_batch(1, (1,))
    losses = losses_of(model, batch)
    part = batch['data_samples'][0].gt_masks.float().mean().item()
    steps = 2
    if spike:
        assert losses['loss_mask'].item() == pytest.approx(20 * 0.25 * 1024 * part * steps, rel=1e-3)
    else:
        assert losses['loss_mask'].item() < 20.
    found = gradients(model, batch)
    reached = found.get('network.sam_mask_decoder.output_upscaling.0.weight')
    assert (reached is not None and bool(reached.any())) is not spike


def test_gate_makes_no_difference_to_objects_that_are_seen():
    found = []
    for ungated in (False, True):
        model = tiny_sam2(**CLICKS, loss=dict(ungated=ungated))
        with torch.no_grad():
            model.network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(50.)
        found.append(total(losses_of(model, tiny_batch(2))).item())
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_core_loss_is_the_weighted_sum():
    losses = losses_of(tiny_sam2(**CLICKS), tiny_batch(2))
    terms = [losses[f'unweighted_{name}'].item() for name in ('mask', 'dice', 'iou', 'class')]
    assert total(losses).item() == pytest.approx(np.dot([20, 1, 1, 1], terms), rel=1e-5)


def test_training_lowers_the_loss():
    model = tiny_sam2(**CLICKS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    values = []
    for _ in range(12):
        losses = total(losses_of(model, tiny_batch(2, (1,))))
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        values.append(losses.item())
    assert values[-1] < 0.8 * values[0]


@pytest.mark.parametrize(('settings', 'frozen'), [
    (dict(freeze_image_encoder=True), ['network.image_encoder']),
    (dict(freeze=['memory_attention', 'network.sam_mask_decoder.transformer']),
     ['network.memory_attention', 'network.sam_mask_decoder.transformer']),
])
def test_frozen_parts(settings, frozen):
    model = tiny_sam2(**CLICKS, **settings, network=dict(drop_path_rate=0.5, memory_dropout=0.5))
    for name in frozen:
        assert not model.get_submodule(name).training
    found = gradients(model.train(), tiny_batch(2))
    for name, parameter in model.named_parameters():
        if any(name.startswith(part) for part in frozen):
            assert not parameter.requires_grad and name not in found
    assert 'network.sam_mask_decoder.iou_token.weight' in found


@pytest.mark.parametrize('part', ['image_encoder', 'memory_attention', 'decoder', 'loss', 'corrections'])
def test_activation_checkpointing_keeps_less_and_changes_nothing(part):
    batch, kept, found = tiny_batch(2), [], []
    for on in (False, True):
        settings = dict(activation_checkpoint=(part,) if on and part != 'corrections' else ())
        prompts = dict(**CLICKS['prompts'], use_act_ckpt_iterative_pt_sampling=on and part == 'corrections')
        model, sizes = tiny_sam2(prompts=prompts, **settings), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, to=sizes: to.append(t.numel()) or t, lambda t: t):
            losses_of(model, batch)
        kept.append(sum(sizes))
        found.append(gradients(model, batch))
    assert kept[1] < kept[0]
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_mixed_precision_on_the_cpu():
    model = tiny_sam2(**CLICKS, objects_per_chunk=1)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3), dtype='bfloat16',
                              accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 2)
    before = model.network.no_mem_embed.detach().clone()
    for _ in range(2):
        losses = model.train_step(tiny_batch(2), wrapper)
        assert losses['loss_mask'].dtype == torch.float32 and losses['loss'].isfinite()
    assert not torch.equal(model.network.no_mem_embed, before)


def test_validation_losses_leave_the_course_of_training():
    model = tiny_sam2()
    state = model.random_state()
    first = losses_of(model.eval(), tiny_batch(2))
    assert model.random_state() == state and set(first) >= {'loss_mask', 'loss_dice', 'loss_iou', 'loss_class'}
    losses_of(model.train(), tiny_batch(2))
    assert model.random_state() != state


def test_layer_id():
    model = tiny_sam2()
    assert model.layer_id('network.image_encoder.trunk.pos_embed') == 0
    assert model.layer_id('network.image_encoder.trunk.blocks.2.norm1.weight') == 3
    assert model.layer_id('network.memory_attention.norm.weight') is None


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(activation_checkpoint=['trunk']), 'activation_checkpoint=.*image_encoder, memory_attention, decoder, loss'),
    (dict(activation_checkpoint='loss'), 'is a list of parts'),
    (dict(freeze=['memory_atention']), "no part named 'network.memory_atention'; did you mean"),
    (dict(test_cfg=dict(prompt='boxes')), "test_cfg has no setting 'prompt'; allowed: prompts"),
    (dict(loss=dict(pred_obj_scores=True), network=dict(pred_obj_scores=False, pred_obj_scores_mlp=False,
                                                        fixed_no_obj_ptr=False, no_obj_embed_spatial=False)),
     'loss.pred_obj_scores=True needs network.pred_obj_scores=True'),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SAM2({**TINY, **settings.pop('network', {})}, **settings)


def test_bad_mode():
    with pytest.raises(ValueError, match="mode='los' is not"):
        tiny_sam2()(torch.zeros(1, 1, 3, 64, 64), mode='los')


def test_features_in_tensor_mode():
    assert tiny_sam2()(torch.zeros(2, 3, 3, 64, 64)).s16.shape == (6, 32, 4, 4)


# a whole run -----------------------------------------------------------------------------------------------------


@DATASETS.register_module(force=True)
class DrawnClips(Dataset):
    """Four clips."""

    metainfo = dict(classes=('object',))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        batch = tiny_batch(2, (1,), seed=index)
        return dict(inputs=batch['inputs'][0], data_samples=batch['data_samples'][0])


def run_config(work_dir, **changes):
    settings = dict(prompts=dict(num_correction_pt_per_frame=1))
    return dict(
        default_scope='maskforge', work_dir=str(work_dir), model=dict(type='SAM2', network=TINY, **settings),
        train_dataloader=dict(batch_size=1, num_workers=0, dataset=dict(type='DrawnClips'),
                              sampler=dict(type='DefaultSampler', shuffle=True),
                              collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=2), optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False),
                           logger=dict(type='LoggerHook', interval=2)),
        randomness=dict(seed=1), **changes)


def test_resume_draws_the_same_prompts(tmp_path):
    """Broken off in the middle of an epoch: prompts, clicks and weights are those of an unbroken run."""
    whole = Runner.from_cfg(run_config(tmp_path / 'whole'))
    whole.train()
    with pytest.raises(Interrupted):
        Runner.from_cfg(run_config(tmp_path / 'cut', custom_hooks=[dict(type='BreakOff', iteration=5)])).train()
    resumed = Runner.from_cfg(run_config(tmp_path / 'cut', resume=True))
    torch.manual_seed(99)
    resumed.train()
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert whole.model.random_state() == resumed.model.random_state()
    saved = load_checkpoint(tmp_path / 'cut' / 'iter_3.pth')  # read with weights_only
    fresh = SAM2(TINY)
    assert saved['random_state'][0]['model'] != fresh.random_state()
    assert not any('generator' in name for name in saved['state_dict'])  # weights alone begin at 42 again


# predictions -----------------------------------------------------------------------------------------------------


def video_item(frames: int = 3):
    masks = drawn_masks(frames, 2)
    images = (masks.any(1, keepdim=True) * 200).expand(-1, 3, -1, -1).to(torch.uint8)
    sample = ClipSample(metainfo=clip_sample(masks).metainfo)
    sample.gt_frames = VideoMasks(lambda frame: {1: masks[frame, 0].numpy(), 2: masks[frame, 1].numpy()}, [0],
                                  object_ids=[1, 2])
    video = VideoFrames([str(t) for t in range(frames)], images.__getitem__, ori_shape=(64, 64))
    return video, sample


def test_videos():
    model = tiny_sam2(test_cfg=dict(video=dict(non_overlap_masks=False))).eval()
    video, sample = video_item()
    found, = model.test_step(dict(inputs=[video], data_samples=[sample]))
    assert found.pred_masks.keys() == {1, 2} and len(found.pred_masks[1]) == len(found.pred_scores[1]) == 3
    assert all(rle['size'] == [64, 64] for rle in found.pred_masks[1])


def test_images():
    model = tiny_sam2(test_cfg=dict(prompts='boxes', clicks=[1, 2])).eval()
    masks = drawn_masks(1, 2)[0]
    instances = InstanceData(bboxes=InstanceMasks.from_bitmaps(masks).bboxes(), labels=torch.zeros(2).long(),
                             masks=InstanceMasks.from_bitmaps(masks))
    instances.bboxes = torch.as_tensor(instances.bboxes)
    sample = DetDataSample(gt_instances=instances, metainfo=dict(
        img_path='a.png', ori_shape=(64, 64), img_shape=(64, 64), scale_factor=(1., 1.), img_id=0))
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    found, = model.test_step(dict(inputs=[image], data_samples=[sample]))
    assert len(found.pred_instances) == 2 and isinstance(found.pred_instances.masks, InstanceMasks)


def test_the_predictors_get_bgr():
    given = []
    for order, channel in ((True, 2), (False, 0)):
        model = tiny_sam2(data_preprocessor=dict(type='ClipPreprocessor', bgr_to_rgb=order)).eval()
        encode = model.network.encode_images
        model.network.encode_images = lambda images, run=encode: given.append(images) or run(images)
        sample = video_item(1)[1]
        colour = torch.zeros(3, 64, 64, dtype=torch.uint8)
        colour[channel] = 255  # red, as BGR or as RGB
        red = VideoFrames(['0'], lambda _, image=colour: image, ori_shape=(64, 64))
        model.test_step(dict(inputs=[red], data_samples=[sample]))
    assert torch.equal(given[0], given[1]) and given[0][0, 0].mean() > given[0][0, 2].mean()


def test_built_from_a_config():
    model = MODELS.build(dict(type='SAM2', network=TINY, freeze_image_encoder=True))
    assert isinstance(model, SAM2) and model.criterion.settings.pred_obj_scores is True
