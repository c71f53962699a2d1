"""
What an attack does to an image
===============================

An attack returns the point it found, whether it fools the model, how large the change is, and what
it cost. Here are changes of the digits under threats of three kinds.
"""

# %%
# A model and a few images
# ------------------------

import matplotlib.pyplot as plt

import holdfast
from holdfast.data import load_data

model = holdfast.train("digits-standard", overrides={"training.epochs": 2}, device="cpu").model
test = load_data("digits", "test", limit=5)
x, y = test.inputs(), test.labels

# %%
# Three threats
# -------------
# Where each pixel may move a little, all of them do. Where the sum of the changes is limited, few
# pixels carry it.

threats = ["linf:0.2", "l2:1", "l1:8"]
results = [holdfast.attack(model, x, y, threat, "pgd-40-2") for threat in threats]
for threat, result in zip(threats, results, strict=True):
    print(f"{threat:9}  broken {int(result.success.sum())} of {len(x)}")

# %%
# The pictures
# ------------
# The first row is the input; below it stand the changed inputs, with what the model takes them for.

figure, axes = plt.subplots(1 + len(threats), len(x), figsize=(6.4, 5.4))
rows = [("input", x), *((t, r.x_adv) for t, r in zip(threats, results, strict=True))]
for (name, images), line in zip(rows, axes, strict=True):
    answers = model(images).argmax(dim=1).tolist()
    for image, answer, place in zip(images, answers, line, strict=True):
        place.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
        place.set_title(f"taken for {answer}", fontsize=8)
        place.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
figure.tight_layout()
