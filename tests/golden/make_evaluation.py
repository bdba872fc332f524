"""Golden values of the evaluation: metrics in plain NumPy, and a run of torch.optim.SGD in float64.

Run:  /tmp/tvenv/bin/python tests/golden/make_evaluation.py   (needs torch and numpy only)
Writes evaluation.npz beside this file. Shares no code with the project.

Metrics: probabilities [200, 4] are multiples of 1/32 (exact in float32, with many ties), rows sum
to 1; the prediction is the first largest class; confusion is [true, predicted]; balanced accuracy
is the mean recall of the classes; auc is the unweighted mean over classes of the one-vs-rest AUC,
ties counted half.
SGD (keys `sgd_*`): logits = X W^T + b (W [3, 10]), mean cross-entropy, 12 full-batch steps (index
0..11), lr 0.1, momentum 0.9, weight decay 5e-4 (on b too). Before step index 7 the optimiser is
made anew with lr 0.01: steps 0..6 use 0.1, steps 7..11 use 0.01, step 7 starts without momentum.
Everything is float64.
"""

import pathlib

import numpy as np
import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).parent


def auc(scores, positive):
    """P(positive scores higher) + P(tie) / 2, over all pairs of a positive and a negative."""
    wins = 0.0
    for a in scores[positive]:
        for b in scores[~positive]:
            wins += 1.0 if a > b else 0.5 if a == b else 0.0
    return wins / (positive.sum() * (~positive).sum())


def metrics():
    """A random unbalanced case of 200 x 4 and its metrics."""
    rng = np.random.default_rng(5)
    labels = rng.permutation(np.repeat(np.arange(4), [120, 50, 22, 8]))
    logits = rng.normal(size=(200, 4)) + 1.2 * np.eye(4)[labels]
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    probabilities = np.stack([rng.multinomial(32, p) for p in softmax]) / 32
    predicted = probabilities.argmax(1)
    confusion = np.zeros((4, 4), np.int64)
    for true, guess in zip(labels, predicted, strict=True):
        confusion[true, guess] += 1
    recalls = [np.mean(predicted[labels == k] == k) for k in range(4)]
    aucs = np.array([auc(probabilities[:, k], labels == k) for k in range(4)])
    top_ties = (probabilities == probabilities.max(1, keepdims=True)).sum(1) > 1
    print(f"rows with a tie for the largest class: {top_ties.sum()}; AUC by class {aucs.round(6)}")
    return dict(
        probabilities=probabilities,
        labels=labels.astype(np.int32),
        confusion=confusion,
        accuracy=np.mean(predicted == labels),
        balanced_accuracy=np.mean(recalls),
        auc=aucs.mean(),
        auc_per_class=aucs,
    )


def sgd_by_hand(x, y, w, b):
    """The same run from the equations in NumPy: a check of what torch was asked."""
    w, b, lr, v = w.copy(), b.copy(), 0.1, [0.0, 0.0]
    for step in range(12):
        if step == 7:
            lr, v = 0.01, [0.0, 0.0]
        p = np.exp(x @ w.T + b)
        p = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) / len(y)
        v = [0.9 * v[0] + p.T @ x + 5e-4 * w, 0.9 * v[1] + p.sum(0) + 5e-4 * b]
        w, b = w - lr * v[0], b - lr * v[1]
    return w, b


def sgd():
    """Twelve steps of torch.optim.SGD on a linear softmax model."""
    torch.manual_seed(6)
    x, y = torch.randn(24, 10, dtype=torch.float64), torch.randint(0, 3, (24,))
    w0 = 0.5 * torch.randn(3, 10, dtype=torch.float64)
    b0 = 0.5 * torch.randn(3, dtype=torch.float64)
    w, b = w0.clone().requires_grad_(), b0.clone().requires_grad_()
    optimiser = torch.optim.SGD([w, b], lr=0.1, momentum=0.9, weight_decay=5e-4)
    losses = []
    for step in range(12):
        if step == 7:
            optimiser = torch.optim.SGD([w, b], lr=0.01, momentum=0.9, weight_decay=5e-4)
        loss = F.cross_entropy(x @ w.T + b, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    w, b = w.detach().numpy(), b.detach().numpy()
    by_hand = sgd_by_hand(x.numpy(), y.numpy(), w0.numpy(), b0.numpy())
    error = max(np.abs(by_hand[0] - w).max(), np.abs(by_hand[1] - b).max())
    print(f"SGD: loss {losses[0]:.6f} -> {losses[-1]:.6f}, NumPy by hand differs by {error:.1e}")
    assert error < 1e-12
    return dict(
        sgd_X=x.numpy(),
        sgd_y=y.numpy().astype(np.int32),
        sgd_W0=w0.numpy(),
        sgd_b0=b0.numpy(),
        sgd_W_final=w,
        sgd_b_final=b,
        sgd_losses=np.array(losses),
    )


def main():
    """Calculate and write the file."""
    torch.set_num_threads(1)
    arrays = {key: np.asarray(value) for key, value in (metrics() | sgd()).items()}
    path = HERE / "evaluation.npz"
    np.savez_compressed(path, **arrays)
    print(f"{path.name}: {path.stat().st_size} bytes")
    for key, value in arrays.items():
        print(f"  {key:18s} {value.dtype!s:8s} {list(value.shape)}", "" if value.ndim else value)


if __name__ == "__main__":
    main()
