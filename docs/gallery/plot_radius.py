"""
Accuracy against radius
=======================

One radius is one point of a curve. This program trains a small network on the digits of
scikit-learn, evaluates it at several radii from both sides, and draws what is known: below the band
everything is proved, above it everything is broken.
"""

# %%
# A model
# -------
# A few epochs of training on interval bounds: less accurate than ordinary training, but its
# robustness can be proved.

import matplotlib.pyplot as plt

import holdfast

trained = holdfast.train(
    "digits-interval", overrides={"training.epochs": 12, "threat": "linf:0.05"}, device="cpu"
)

# %%
# Both sides, at every radius
# ---------------------------
# Further radii cost less than evaluations of their own: a witness counts for every radius that it
# fits into, a certificate for every smaller one.

radii = [0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1]
found = holdfast.evaluate(
    trained.model, "digits", "linf:0.05", attacks="fgsm,pgd-20-1", radii=radii, limit=300
)
print(found)

# %%
# The picture
# -----------

points = found.result["radii"]
at = [point["radius"] for point in points]
upper = [point["robust_accuracy"] for point in points]
lower = [point["certified_accuracy"] for point in points]

figure, axes = plt.subplots(figsize=(6.4, 3.6))
axes.fill_between(at, lower, upper, alpha=0.25, label="undecided: the truth lies here")
axes.plot(at, upper, marker="o", label="not broken by the attacks")
axes.plot(at, lower, marker="s", label="proved by interval bounds")
axes.set(xlabel="radius (linf, input units)", ylabel="accuracy", ylim=(0, 1))
axes.legend(frameon=False)
figure.tight_layout()
