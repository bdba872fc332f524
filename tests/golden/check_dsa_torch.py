"""Check dsa_numpy.py's scale and rotate against PyTorch's affine_grid and grid_sample.

Run:  /tmp/tvenv/bin/python tests/golden/check_dsa_torch.py   (needs torch and numpy only)
Writes nothing; prints the largest errors and fails if one is above 1e-9. The other operations get
small checks by array slicing.
"""

import dsa_numpy as dsa
import numpy as np
import torch
import torch.nn.functional as F


def torch_affine(images, theta):
    """grid_sample(affine_grid(theta)), align_corners=True, for NHWC images in float64."""
    x = torch.tensor(images).permute(0, 3, 1, 2)
    grid = F.affine_grid(torch.tensor(theta), list(x.shape), align_corners=True)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return x.permute(0, 2, 3, 1).numpy()


def main():
    """Compare on square and oblong images of one and three channels."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(4)
    for shape in ((4, 32, 32, 3), (4, 32, 32, 1), (4, 17, 24, 3)):
        images = rng.normal(size=shape)
        n, zero = shape[0], np.zeros(shape[0])
        sx, sy = rng.uniform(1 / 1.2, 1.2, (2, n))
        theta = np.stack([np.stack([sx, zero, zero], 1), np.stack([zero, sy, zero], 1)], 1)
        error_scale = np.abs(dsa.scale(images, sx, sy) - torch_affine(images, theta)).max()

        degrees = rng.uniform(-15, 15, n)
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        theta = np.stack([np.stack([cos, -sin, zero], 1), np.stack([sin, cos, zero], 1)], 1)
        error_rotate = np.abs(dsa.rotate(images, degrees) - torch_affine(images, theta)).max()
        print(f"{shape}: max error scale {error_scale:.1e}, rotate {error_rotate:.1e}")
        assert max(error_scale, error_rotate) < 1e-9

    images = rng.normal(size=(3, 32, 32, 3))
    assert np.array_equal(dsa.flip(images, [True, False, True])[0], images[0][:, ::-1])
    assert np.array_equal(dsa.flip(images, [True, False, True])[1], images[1])
    moved = dsa.crop(images, [3, -4, 0], [-2, 1, 0])
    assert np.array_equal(moved[0, 2:, :29], images[0, :30, 3:])
    assert not moved[0, :2].any() and not moved[0, :, 29:].any()
    assert np.array_equal(moved[1, :31, 4:], images[1, 1:, :28])
    assert np.array_equal(moved[2], images[2])
    holes = dsa.cutout(images, [0, 20, 32], [16, 32, 0], 16) == 0
    assert [int(h.all(-1).sum()) for h in holes] == [8 * 16, 16 * 8, 8 * 8]
    assert holes[0, 8:24, :8].all() and holes[1, 24:, 12:28].all() and holes[2, :8, 24:].all()
    ones = np.ones(3)
    same = dsa.contrast(dsa.saturation(dsa.brightness(images, 0 * ones), ones), ones)
    assert np.allclose(same, images, atol=1e-13)
    grey = dsa.saturation(images, 0 * ones)
    assert np.allclose(grey[..., 0], grey[..., 2]) and np.allclose(grey[..., 1], images.sum(-1) / 3)
    assert np.allclose(dsa.contrast(images, 0 * ones)[1], images[1].sum() / images[1].size)
    print("flip, crop, cutout, brightness, saturation, contrast: checks passed")


if __name__ == "__main__":
    main()
