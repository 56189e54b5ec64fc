"""The network on small inputs: sizes, settings, checkpointing, errors."""
import pytest
import torch
from tiny_sam2 import TINY_TRUNK, tiny_sam2_network

from maskforge.layers.freeze import freeze_modules
from maskforge.models.sam2.memory_bank import MemoryBank
from maskforge.models.sam2.network import SAM2Network
from maskforge.models.sam2.network_settings import NetworkSettings, network_settings
from maskforge.models.sam2.structures import Prompts
from maskforge.models.sam2.tracking import remember_frame, track_frame

NO_POINTERS = dict(use_obj_ptrs_in_encoder=False, add_tpos_enc_to_obj_ptrs=False, proj_tpos_enc_in_obj_ptrs=False,
                   use_signed_tpos_enc_to_obj_ptrs=False, fixed_no_obj_ptr=False)
NO_SCORES = dict(pred_obj_scores=False, pred_obj_scores_mlp=False, fixed_no_obj_ptr=False, no_obj_embed_spatial=False)


def images(number=4, size=(64, 64), seed=0):
    return torch.randn(number, 3, *size, generator=torch.Generator().manual_seed(seed))


def click(objects=2, points=1):
    place = torch.rand(objects, points, 2, generator=torch.Generator().manual_seed(1)) * 64
    return Prompts(place, torch.ones(objects, points, dtype=torch.long))


def square(objects=2):
    masks = torch.zeros(objects, 1, 64, 64)
    masks[:, :, 10:40, 20:50] = 1
    return masks


def track(network, pictures, *, objects=2, points=1, masks=None, conditioning=(0,), frames=None, reverse=False):
    """Outputs of the frames of a clip whose ``conditioning`` frames are prompted first."""
    features, bank, outputs = network.encode_images(pictures), MemoryBank(), {}
    ordered = sorted(range(len(pictures)), key=lambda frame: frame not in conditioning)
    for frame in frames or ordered:
        own = features[torch.full((objects,), frame)]
        initial = frame in conditioning
        prompts = click(objects, points) if initial and masks is None else None
        outputs[frame] = track_frame(network, own, bank, frame, num_frames=len(pictures), initial=initial,
                                     prompts=prompts, masks=masks if initial else None, reverse=reverse)
        remember_frame(network, own, outputs[frame], bank, frame, conditioning=initial, from_points=prompts is not None)
    return outputs


def everything(outputs):
    return torch.cat([value.detach().flatten().float() for frame in sorted(outputs)
                      for value in vars(outputs[frame]).values()])


# what is set -> the case in which it shows: prompts of the first frame, mode, object score, conditioning frames
SHOWS = [
    (dict(num_maskmem=3), {}), (dict(max_cond_frames_in_attn=2), dict(conditioning=(0, 1, 2))),
    (dict(memory_temporal_stride_for_eval=3), dict(frames=6)),
    (dict(sigmoid_scale_for_mem_enc=10.), {}), (dict(sigmoid_bias_for_mem_enc=-5.), {}),
    (dict(binarize_mask_from_pts_for_mem_enc=True), {}), (dict(non_overlap_masks_for_mem_enc=True), {}),
    (dict(no_obj_embed_spatial=False), dict(score=-9.)),
    (NO_POINTERS, {}), (dict(max_obj_ptrs_in_encoder=2), {}),
    (dict(add_tpos_enc_to_obj_ptrs=False, proj_tpos_enc_in_obj_ptrs=False, use_signed_tpos_enc_to_obj_ptrs=False), {}),
    (dict(proj_tpos_enc_in_obj_ptrs=False), {}),
    (dict(use_signed_tpos_enc_to_obj_ptrs=False), dict(conditioning=(0, 3), train=True)),
    (dict(only_obj_ptrs_in_the_past_for_eval=False), dict(conditioning=(0, 3))),
    (dict(fixed_no_obj_ptr=False), dict(score=-9.)), (dict(soft_no_obj_ptr=True), dict(score=0.5)),
    (dict(use_mlp_for_obj_ptr_proj=False), {}), (dict(use_multimask_token_for_obj_ptr=False), {}),
    (dict(use_high_res_features_in_sam=False), {}), (dict(iou_prediction_use_sigmoid=False), {}),
    (NO_SCORES, dict(score=-9.)), (dict(pred_obj_scores_mlp=False), {}),
    (dict(multimask_output_in_sam=False), {}), (dict(multimask_min_pt_num=1), {}),
    (dict(multimask_max_pt_num=2), dict(points=2)), (dict(multimask_output_for_tracking=False), {}),
    (dict(use_mask_input_as_output_without_sam=False), dict(masks=True)),
    (dict(dynamic_multimask_via_stability=True, dynamic_multimask_stability_thresh=1.1), dict(points=2)),
    (dict(fpn_top_down_levels=(0, 1, 2, 3)), {}), (dict(fpn_top_down_levels=()), {}),
    (dict(memory_layers=1), {}), (dict(decoder_depth=1), {}), (dict(decoder_heads=4), {}),
    (dict(memory_dropout=0.), dict(train=True)), (dict(version='2.0'), {}),
    (dict(directly_add_no_mem_embed=False, memory_dim=32), dict(base=dict(memory_dim=32))),
    (dict(decoder_mlp=8), {}), (dict(memory_feedforward=8), {}), (dict(drop_path_rate=0.5), dict(train=True)),
    (dict(dynamic_multimask_via_stability=True, dynamic_multimask_stability_delta=0.),
     dict(points=2, base=dict(dynamic_multimask_via_stability=True, dynamic_multimask_stability_delta=9.))),
]


def shown(changes, *, points=1, train=False, score=9., conditioning=(0,), frames=4, masks=False, base=None):
    network = tiny_sam2_network(**{**(base or {}), **changes}).train(train)
    if changes:
        names, reference = dict(network.named_parameters()), tiny_sam2_network(**(base or {})).state_dict()
        network.load_state_dict({name: value for name, value in reference.items()
                                 if name in names and names[name].shape == value.shape}, strict=False)
    head = network.sam_mask_decoder.pred_obj_score_head
    if head is not None:
        (head.layers[-1] if hasattr(head, 'layers') else head).bias.data.fill_(score)
    torch.manual_seed(0)
    with torch.no_grad():
        return everything(track(network, images(frames), points=points, conditioning=conditioning,
                                masks=square() if masks else None))


def shown_by_default(case, kept={}):  # noqa: B006 - cases share the outcome
    if repr(case) not in kept:
        kept[repr(case)] = shown({}, **case)
    return kept[repr(case)]


@pytest.mark.parametrize('changes, case', SHOWS, ids=lambda value: ','.join(value) or 'any')
def test_every_setting_acts(changes, case):
    with_it, without = shown(changes, **case), shown_by_default(case)
    assert with_it.shape != without.shape or (with_it - without).abs().max() > 1e-5
    assert with_it.isfinite().all()


def test_no_setting_is_left_out_of_the_table():
    sizes = {'hidden_dim', 'memory_dim'}  # every tensor has them
    elsewhere = {'checkpoint_trunk', 'checkpoint_memory_attention', 'compile_image_encoder'}
    listed = {name for changes, _ in SHOWS for name in changes}
    assert vars(NetworkSettings()).keys() - sizes - elsewhere <= listed


@pytest.mark.parametrize('changes, message', [
    (dict(num_maskmem=0), r'num_maskmem must be at least 1, got 0'),
    (dict(max_cond_frames_in_attn=1), r'max_cond_frames_in_attn must be -1 \(all\) or at least 2, got 1'),
    (dict(memory_temporal_stride_for_eval=0), 'memory_temporal_stride_for_eval must be at least 1'),
    (dict(max_obj_ptrs_in_encoder=0), 'use_obj_ptrs_in_encoder=False turns pointers off'),
    (dict(hidden_dim=20), 'hidden_dim must be a multiple of 8, got 20'),
    (dict(decoder_heads=3), 'decoder_heads=3 must divide half of hidden_dim=256'),
    (dict(memory_dim=48), 'memory_dim must be a multiple of 4 that divides hidden_dim=256, got 48'),
    (dict(directly_add_no_mem_embed=False), 'so memory_dim must equal hidden_dim; got 64 and 256'),
    (dict(use_obj_ptrs_in_encoder=False), 'add_tpos_enc_to_obj_ptrs needs use_obj_ptrs_in_encoder=True'),
    (dict(add_tpos_enc_to_obj_ptrs=False), 'proj_tpos_enc_in_obj_ptrs needs add_tpos_enc_to_obj_ptrs=True'),
    ({**NO_POINTERS, 'soft_no_obj_ptr': True}, 'soft_no_obj_ptr needs pred_obj_scores=True'),
    ({**NO_POINTERS, 'use_signed_tpos_enc_to_obj_ptrs': True}, 'use_signed_tpos_enc_to_obj_ptrs needs'),
    ({**NO_SCORES, 'fixed_no_obj_ptr': True}, 'fixed_no_obj_ptr needs pred_obj_scores=True'),
    ({**NO_SCORES, 'pred_obj_scores_mlp': True}, 'pred_obj_scores_mlp needs pred_obj_scores=True'),
    ({**NO_SCORES, 'no_obj_embed_spatial': True}, 'no_obj_embed_spatial needs pred_obj_scores=True'),
    (dict(multimask_min_pt_num=2), 'multimask_min_pt_num=2 and multimask_max_pt_num=1 are no range'),
    (dict(memory_dropout=1.), r'memory_dropout must be in \[0, 1\), got 1.0'),
    (dict(fpn_top_down_levels=(4,)), r'fpn_top_down_levels must be among 0 \(stride 4\) .. 3 \(stride 32\), got \[4\]'),
])
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        network_settings('2.1', **changes)


@pytest.mark.parametrize('arguments, error, message', [
    (dict(version='3'), ValueError, "version must be one of '2.0', '2.1', got '3'"),
    (dict(num_maskmen=7), TypeError, "no setting 'num_maskmen'; near names: num_maskmem"),
    (dict(arch='huge'), ValueError, "arch='huge' is unknown; it is one of tiny, small, base_plus, large"),
    (dict(arch=dict(embed_dims=8)), ValueError, "arch has no setting 'embed_dims'; it has embed_dim"),
    (dict(arch=dict(stages=(1, 2))), ValueError, r'arch.stages has a number for each of the four stages, got \(1, 2\)'),
    (dict(arch=dict(embed_dim=9, num_heads=2)), ValueError, 'arch.num_heads=2 must divide arch.embed_dim=9'),
    (dict(arch=dict(global_att_blocks=(99,))), ValueError, 'blocks that the trunk does not have; it has 0 .. 23'),
    (dict(image_size=1000), ValueError, 'multiples of 32, got 1000 x 1000; the nearest size is 992 x 992'),
    (dict(image_size=(512, 100)), ValueError, 'got 512 x 100; the nearest size is 512 x 96'),
])
def test_arguments_that_cannot_be(arguments, error, message):
    with pytest.raises(error, match=message):
        SAM2Network(**arguments)


def test_settings_of_the_versions():
    two, two_one = network_settings('2.0'), network_settings('2.1')
    differing = {name for name, value in vars(two).items() if value != getattr(two_one, name)}
    assert differing == {'no_obj_embed_spatial', 'add_tpos_enc_to_obj_ptrs', 'proj_tpos_enc_in_obj_ptrs',
                         'use_signed_tpos_enc_to_obj_ptrs'}
    assert two_one == NetworkSettings() and not network_settings('2.1', no_obj_embed_spatial=False).no_obj_embed_spatial


@pytest.mark.parametrize('size', [(32, 32), (64, 96), (128, 32)])
def test_any_size_that_is_a_multiple_of_32(size):
    network = tiny_sam2_network().eval()
    with torch.no_grad():
        outputs = track(network, images(3, size))
    assert outputs[2].multimasks_low.shape == (2, 3, size[0] // 4, size[1] // 4)
    assert outputs[2].masks_low.shape == (2, 1, size[0] // 4, size[1] // 4)
    with pytest.raises(ValueError, match='multiples of 32, got 64 x 80; the nearest size is 64 x 64'):
        network.encode_images(images(1, (64, 80)))


def test_objects_do_not_see_each_other():
    network = tiny_sam2_network().eval()
    with torch.no_grad():
        both, one = (track(network, images(3), objects=objects)[2] for objects in (2, 1))
    assert torch.allclose(both.masks_high[:1], one.masks_high, atol=1e-5)
    assert torch.allclose(both.pointers[:1], one.pointers, atol=1e-5)


def trained(**changes):
    """Outputs, gradients, and how many numbers were kept for the backward pass."""
    network, kept = tiny_sam2_network(drop_path_rate=0.2, **changes).train(), []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = track(network, images(2))
    outputs[1].masks_high.sum().backward()
    return everything(outputs), [p.grad for p in network.parameters() if p.grad is not None], sum(kept)


@pytest.mark.parametrize('settings', [dict(checkpoint_trunk=True), dict(checkpoint_memory_attention=True)])
def test_checkpointing_changes_nothing_but_what_is_kept(settings):
    """Dropout and stochastic depth included: the second run draws what the first did."""
    plain, gradients, much = trained()
    again, same, little = trained(**settings)
    assert torch.equal(plain, again) and len(gradients) == len(same)
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(gradients, same))
    assert little < 0.97 * much


def test_the_encoder_is_compiled_where_wanted(monkeypatch):
    called = []
    monkeypatch.setattr(torch.nn.Module, 'compile', lambda module, **options: called.append((module, options)))
    assert not called and tiny_sam2_network() is not None and not called
    network = tiny_sam2_network(compile_image_encoder=True)
    assert [module for module, _ in called] == [network.image_encoder] and called[0][1] == dict(dynamic=False)


def test_every_parameter_is_trained_but_the_unused_one():
    """Clicks and masks together reach everything; the position of "no memory" has no use when it is added directly."""
    network = tiny_sam2_network(memory_dropout=0.).train()
    torch.nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 9.)
    loss = sum(vars(output)[name].sum() for masks in (None, square())
               for output in track(network, images(3), masks=masks).values()
               for name in ('multimasks_low', 'ious', 'object_scores', 'pointers'))
    # a row without an object, logits, and all labels
    features = network.encode_images(images(1))
    labels = torch.tensor([[0, 1, 2, 3, -1]])
    dense = Prompts(torch.rand(1, 5, 2) * 64, labels, torch.randn(1, 1, 16, 16))
    loss = loss + network.sam_heads(features, dense, multimask=False).masks_low.sum()
    memory, _ = network.encode_memory(features.s16, square(1), torch.tensor([[-1.]]), binarize=False)
    loss = loss + memory.square().sum() + network._pointers(torch.ones(1, 32), torch.zeros(1, 1)).sum()
    loss.backward()
    still = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert still == {'no_mem_pos_enc'}


def test_absent_objects_have_empty_masks_and_the_learnt_pointer():
    network = tiny_sam2_network().eval()
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(-9.)
    features = network.encode_images(images(1))
    output = network.sam_heads(features, click(1), multimask=True)
    assert (output.multimasks_low == -1024).all() and (output.masks_high == -1024).all()
    assert torch.equal(output.pointers, network.no_obj_ptr) and output.ungated_low.std() > 0
    empty = network.use_mask(features, torch.zeros(1, 1, 64, 64))
    assert torch.equal(empty.pointers, network.no_obj_ptr) and (empty.object_scores == -10).all()


def test_a_mask_prompt_is_its_frame_s_output():
    network, masks = tiny_sam2_network().eval(), square()
    output = network.use_mask(network.encode_images(images(2)), masks)
    assert torch.equal(output.masks_high, masks * 20 - 10) and torch.equal(output.ious, torch.ones(2, 1))
    assert torch.equal(output.object_scores, torch.full((2, 1), 10.)) and output.masks_low.shape[-2:] == (16, 16)
    assert (output.masks_low[0, 0, 4:8, 7:11] > 9).all() and output.pointers.std() > 0


@pytest.mark.parametrize('points, initial, wanted', [(0, False, True), (1, True, True), (2, True, False),
                                                     (3, False, False)])
def test_when_several_masks_are_wanted(points, initial, wanted):
    prompts = click(1, points) if points else None
    assert tiny_sam2_network().wants_multimask(prompts, initial=initial) is wanted


@pytest.mark.parametrize('prompts, message', [
    (Prompts(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.long)), 'points of 1 objects, the features are of 2'),
    (Prompts(torch.zeros(2, 1, 2)), 'Points and labels of a prompt go together'),
    (Prompts(masks=torch.zeros(2, 1, 64, 64)), r'at stride 4, \(16, 16\) for this input; got \(64, 64\)'),
])
def test_prompts_that_do_not_fit(prompts, message):
    network = tiny_sam2_network()
    with pytest.raises(ValueError, match=message):
        network.sam_heads(network.encode_images(images(2)), prompts, multimask=False)


def test_a_frame_without_memory_and_two_kinds_of_prompts_are_errors():
    network = tiny_sam2_network().eval()
    features = network.encode_images(images(1))
    with pytest.raises(ValueError, match=r'Frame 3 has no memory to look at; frames with memories: \[\]'):
        track_frame(network, features, MemoryBank(), 3, num_frames=5, initial=False)
    with pytest.raises(ValueError, match='not both'):
        track_frame(network, features, MemoryBank(), 0, num_frames=1, initial=True, prompts=click(1), masks=square(1))


@pytest.mark.parametrize('name, layer', [
    ('image_encoder.trunk.pos_embed', 0), ('image_encoder.trunk.pos_embed_window', 0),
    ('image_encoder.trunk.patch_embed.proj.weight', 0), ('image_encoder.trunk.blocks.0.norm1.weight', 1),
    ('image_encoder.trunk.blocks.6.mlp.fc1.bias', 7), ('image_encoder.neck.convs.0.conv.weight', None),
    ('no_obj_ptr', None)])
def test_layers_of_the_trunk(name, layer):
    network = tiny_sam2_network()
    assert name in dict(network.named_parameters()) and network.layer_id(name) == layer


def test_a_frozen_encoder_stays_as_it_is():
    network = tiny_sam2_network(drop_path_rate=0.9).train()
    freeze_modules(network, ['image_encoder'])
    first, second = (network.encode_images(images(1)).s16 for _ in range(2))
    assert torch.equal(first, second) and not first.requires_grad
    assert network.encode_images(images(1)).s4.requires_grad  # conv_s0 is the decoder's


def test_the_trunk_starts_as_the_release_s():
    with torch.random.fork_rng(devices=[]):
        trunk = SAM2Network(arch=TINY_TRUNK, hidden_dim=32, memory_dim=8).image_encoder.trunk
    assert not trunk.pos_embed.any() and not trunk.pos_embed_window.any()
    bound = trunk.blocks[0].mlp.fc1.in_features**-0.5
    assert 0.9 * bound < trunk.blocks[0].mlp.fc1.weight.abs().max() <= bound


def test_codes_made_for_inference_serve_training():
    network = tiny_sam2_network()
    with torch.inference_mode():
        track(network, images(2, (96, 64)))
    track(network.train(), images(2, (96, 64)))[1].masks_high.sum().backward()


@pytest.mark.parametrize('train', [False, True])
def test_bfloat16_autocast(train):
    network = tiny_sam2_network(memory_dropout=0.).train(train)
    wanted = track(network, images(2))[1]
    with torch.autocast('cpu', torch.bfloat16):
        found = track(network, images(2))[1]
    assert found.masks_low.dtype == torch.bfloat16 and found.masks_high.dtype == torch.float32
    assert (found.masks_high - wanted.masks_high).abs().max() < 0.05 * wanted.masks_high.abs().max()
    found.masks_high.sum().backward()
