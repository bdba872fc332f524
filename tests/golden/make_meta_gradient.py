"""Golden values of the MTT meta-gradient (no augmentation): PyTorch's double backward in float64.

Run:  /tmp/tvenv/bin/python tests/golden/make_meta_gradient.py   (needs torch and numpy only)
Writes meta_gradient.npz beside this file. Shares no code with the project.

N = 4 student steps theta <- theta - step_size * grad CE(mean over the minibatch) from the start
weights, then loss = |theta_N - target|^2 / |start - target|^2 over ALL parameters (convolution
biases and norms too). The gradients go through all four steps. Layouts as in make_convnet.py (NCHW,
linear weight in (c, h, w) order). Case 1 uses the whole set at each step; case 2 (keys `batched_*`:
same images, weights, labels and step size) uses the images batched_indices[step].
Weights and images are float32; step size, losses and gradients are stored as float64.
"""

import numpy as np
import torch
import torch.nn.functional as F
from make_convnet import HERE, forward, random_images, random_weights

STEPS = 4


def meta_loss(start, target, images, labels, step_size, indices):
    """The trajectory-matching loss, differentiable through all steps."""
    student = {key: value.clone().requires_grad_() for key, value in start.items()}
    for batch in indices:
        loss = F.cross_entropy(forward(student, images[batch]), labels[batch])
        grads = torch.autograd.grad(loss, list(student.values()), create_graph=True)
        student = {
            key: value - step_size * g
            for (key, value), g in zip(student.items(), grads, strict=True)
        }
    moved = sum((student[key] - target[key]).square().sum() for key in start)
    return moved / sum((start[key] - target[key]).square().sum() for key in start)


def case(start, target, images, labels, step_size, indices):
    """Loss and its gradients to images and step size, checked by central differences."""
    loss = meta_loss(start, target, images, labels, step_size, indices)
    grad_images, grad_step = torch.autograd.grad(loss, (images, step_size))

    def loss_at(d_images, d_step):
        return meta_loss(
            start,
            target,
            (images + d_images).detach(),
            labels,
            (step_size + d_step).detach(),
            indices,
        ).item()

    eps, direction = 1e-6, grad_images / grad_images.norm()
    by_images = (loss_at(eps * direction, 0) - loss_at(-eps * direction, 0)) / (2 * eps)
    by_step = (loss_at(0, eps) - loss_at(0, -eps)) / (2 * eps)
    errors = (
        abs(by_images / (grad_images * direction).sum().item() - 1),
        abs(by_step / grad_step.item() - 1),
    )
    print(
        f"loss {loss.item():.9f}, |grad_images| {grad_images.norm().item():.6g}, grad_step_size "
        f"{grad_step.item():.6g}; finite differences: relative {errors[0]:.1e}, {errors[1]:.1e}"
    )
    assert max(errors) < 1e-4
    return dict(
        loss=np.float64(loss.item()),
        grad_images=grad_images.numpy(),
        grad_step_size=np.float64(grad_step.item()),
    )


def main():
    """Calculate both cases and write the file."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    start = random_weights(channels=3, width=8, classes=3, side=16)
    target = {
        key: (value + 0.03 * torch.randn(value.shape)).float().double()
        for key, value in start.items()
    }
    images = random_images(6, 3, 16).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    step_size = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    indices = torch.stack([torch.randperm(6) for _ in range(STEPS // 2)]).reshape(STEPS, 3)

    arrays = {f"start_{key}": value.numpy().astype(np.float32) for key, value in start.items()}
    arrays.update(
        {f"target_{key}": value.numpy().astype(np.float32) for key, value in target.items()}
    )
    arrays.update(
        images=images.detach().numpy().astype(np.float32),
        labels=labels.numpy().astype(np.int32),
        step_size=np.float64(step_size.item()),
    )
    arrays.update(case(start, target, images, labels, step_size, torch.arange(6).repeat(STEPS, 1)))
    arrays["batched_indices"] = indices.numpy().astype(np.int32)
    batched = case(start, target, images, labels, step_size, indices)
    arrays.update({f"batched_{key}": value for key, value in batched.items()})

    path = HERE / "meta_gradient.npz"
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {path.stat().st_size} bytes")
    for key, value in arrays.items():
        print(f"  {key:24s} {value.dtype!s:8s} {list(value.shape)}")


if __name__ == "__main__":
    main()
