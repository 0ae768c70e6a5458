import pytest
import torch

from bundle.transforms.batch_augment import (
    AutoContrast,
    BatchAugment,
    CenterCrop,
    Jitter,
    RandomAffine,
    RandomFlip,
    RandomPerspective,
    RandomResizedCrop,
)


def ramp(batch: int = 2, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Each pixel has a value of its own; the body is a corner."""
    image = torch.linspace(0, 1, side * side).reshape(1, 1, side, side).repeat(batch, 1, 1, 1)
    body = torch.zeros(batch, 1, side, side, dtype=torch.bool)
    body[..., : side // 2, : side // 4] = True
    return image, body


def test_nothing_to_do_returns_the_input():
    image, body = ramp()
    same, same_body = BatchAugment(32)(image, body)
    torch.testing.assert_close(same, image, atol=1e-6, rtol=0)
    assert torch.equal(same_body, body)


def test_random_crop_shows_whole_pixels_of_image_and_body_alike():
    image, body = ramp(16)
    torch.manual_seed(0)
    cut, cut_body = BatchAugment(20)(image, body)
    corners = set()
    for row, window, window_body in zip(image, cut, cut_body, strict=True):
        top, left = divmod(round(window[0, 0, 0].item() * (32 * 32 - 1)), 32)
        corners.add((top, left))
        torch.testing.assert_close(window, row[:, top : top + 20, left : left + 20], atol=1e-5, rtol=0)
        assert torch.equal(window_body, body[0][:, top : top + 20, left : left + 20])
    assert len(corners) > 8


def test_centre_crop_both_ways():
    image, body = ramp()
    sliced = CenterCrop(20)(image, body)
    warped = BatchAugment(20, random_crop=False)(image, body)
    torch.testing.assert_close(sliced[0], warped[0], atol=1e-6, rtol=0)
    assert torch.equal(sliced[1], warped[1])
    torch.testing.assert_close(sliced[0], image[..., 6:26, 6:26])


def test_too_small_an_image_is_refused():
    with pytest.raises(ValueError, match="cannot cut 40 px out of images of 32 x 32"):
        BatchAugment(40)(*ramp())


def test_rotation_turns_the_way_of_the_matrix():
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 28] = 1  # right of the centre

    def quarter(batch):
        # output to input: what was right of the centre comes to lie below it
        return torch.tensor([[[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]).repeat(batch, 1, 1)

    turned, _ = BatchAugment(33, [quarter])(image, image > 0)
    assert divmod(turned.argmax().item(), 33) == (28, 16)


@pytest.mark.parametrize("warp", [RandomPerspective(0.5, p=1), RandomAffine(degrees=20, shear=10, translate=0.1)])
def test_body_follows_the_image(warp):
    torch.manual_seed(3)
    _, body = ramp(8, 64)
    warped, warped_body = BatchAugment(64, [warp])(body.float(), body)
    assert not torch.equal(warped_body, body)
    disagree = (warped > 0.5) != warped_body
    assert disagree.float().mean() < 0.01  # linear and nearest resampling differ at edges only


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_masks_of_any_number_of_channels_follow_the_image(channels):
    image, body = ramp(8, 64)
    masks = torch.cat([body, ~body, body.flip(-1)], dim=1)[:, :channels]
    warps = [RandomFlip(), RandomAffine(degrees=20, translate=0.1)]
    torch.manual_seed(1)
    _, together = BatchAugment(48, warps)(image, masks)
    assert together.shape == (8, channels, 48, 48)
    assert together.dtype == torch.bool
    for channel in range(channels):
        torch.manual_seed(1)
        _, alone = BatchAugment(48, warps)(image, masks[:, [channel]])
        assert torch.equal(together[:, [channel]], alone)
    assert CenterCrop(48)(image, masks)[1].shape == (8, channels, 48, 48)


def test_flip_mirrors_left_and_right():
    image, body = ramp(64)
    flipped, flipped_body = BatchAugment(32, [RandomFlip(1)])(image, body)
    torch.testing.assert_close(flipped, image.flip(-1), atol=1e-6, rtol=0)
    assert torch.equal(flipped_body, body.flip(-1))
    torch.manual_seed(0)
    half = RandomFlip(0.5)(1000)[:, 0, 0]
    assert set(half.tolist()) == {-1, 1}
    assert 450 < (half < 0).sum() < 550


def test_probability_zero_changes_nothing():
    for warp in (RandomPerspective(0.5, p=0), RandomAffine(30, 20, (0.5, 2), 0.2, p=0), RandomFlip(p=0)):
        torch.testing.assert_close(warp(3), torch.eye(3).repeat(3, 1, 1), atol=1e-6, rtol=0)


def test_same_seed_same_batch():
    augment = BatchAugment(24, [RandomPerspective(), RandomAffine(10)], [AutoContrast(), Jitter()])
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(augment(*ramp()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_auto_contrast_stretches_and_leaves_constants():
    image = torch.stack([torch.linspace(0.2, 0.6, 16).reshape(1, 4, 4), torch.full((1, 4, 4), 0.3)])
    stretched = AutoContrast(p=1)(image)
    assert stretched[0].min() == 0
    assert stretched[0].max() == pytest.approx(1)
    torch.testing.assert_close(stretched[1], image[1])
    torch.testing.assert_close(AutoContrast(p=0)(image), image)


def test_jitter_stays_in_range_and_is_off_at_zero():
    image, _ = ramp()
    torch.testing.assert_close(Jitter(0, 0)(image), image)
    jittered = Jitter(0.9, 0.9)(image)
    assert 0 <= jittered.min() <= jittered.max() <= 1


def test_resized_crops_are_windows_of_the_image():
    torch.manual_seed(0)
    matrix = RandomResizedCrop(scale=(0.3, 0.9), ratio=(0.5, 2.0))(2000)
    width, height = matrix[:, 0, 0], matrix[:, 1, 1]
    area, ratio = width * height, width / height
    for value, low, high in ((area, 0.3, 0.9), (ratio, 0.5, 2.0)):
        assert low - 1e-5 <= value.min() < low + 0.02 * high
        assert high * 0.98 < value.max() <= high + 1e-5
    for axis, side in ((0, width), (1, height)):
        room = 1 - side
        shift = matrix[:, axis, 2]
        assert (shift.abs() <= room + 1e-6).all()
        assert (shift / room).abs().max() > 0.98  # windows reach the edges
        assert shift.mean().abs() < 0.02
    image, body = ramp(1, 32)
    torch.manual_seed(5)
    window, _ = BatchAugment(32, [RandomResizedCrop(scale=(0.25, 0.25), ratio=(1.0, 1.0))])(image, body)
    steps = window[0, 0].diff(dim=1)[:, 1:-1] * (32 * 32 - 1)
    torch.testing.assert_close(steps, torch.full_like(steps, 0.5), atol=1e-3, rtol=0)  # twice as large


def test_a_resized_crop_of_the_whole_changes_nothing():
    image, body = ramp()
    same, same_body = BatchAugment(32, [RandomResizedCrop(scale=(1.0, 1.0))])(image, body)
    torch.testing.assert_close(same, image, atol=1e-5, rtol=0)
    assert torch.equal(same_body, body)
