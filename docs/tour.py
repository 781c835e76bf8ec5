# The cells of docs/tour.ipynb: `python docs/make_tour.py` runs them and stores their outputs.
# %% [markdown]
# # A tour in Python
#
# Find the neurons that carry an answer, switch them off, turn them up and down, and take the numbers with you.
# Everything below runs on a laptop in less than a minute. Every verb of the workbench is a method here:
# `help(wb.discover)` explains one.

# %%
import workbench

wb = workbench.open("smollm2")
wb.prompt("What is the capital of Texas?")
wb.seed("The capital of Texas is")

# %% [markdown]
# What is the next token? A result displays itself, and its fields hold all that it has.

# %%
likely = wb.top(5)
likely

# %%
likely.chances[0].text, round(likely.chances[0].probability, 3)

# %% [markdown]
# ## The neurons that carry it
# `discover` attributes the logit difference between ` Austin` and ` Dallas` to every neuron at every position. The
# strongest become the session's circuit, and the exact effect of ablating each of them is measured too.

# %%
found = wb.discover(" Austin", vs=" Dallas", top=60)
found

# %% [markdown]
# `to_pandas()` gives the table with all its rows, and raw numbers. `unit` is what every verb selects a neuron by.

# %%
neurons = found.to_pandas()
neurons.sort_values("effect", ascending=False).head(5)

# %%
by_layer = neurons.groupby("layer")["effect"].sum()
axes = by_layer.plot.bar(ylabel="effect on the logit difference", figsize=(7, 3))

# %% [markdown]
# ## Off
# Twenty neurons of the thousands in this model at zero: the text, beside the unchanged one, and how the next token's
# distribution moves.

# %%
compared = wb.ablate("top20", max_tokens=12)
compared

# %%
axes = compared.plot()

# %% [markdown]
# ## Down and up
# One batched job for all multipliers. The knee, marked by a circle, is where the likeliest next token changes.

# %%
swept = wb.sweep("top20", 0, 0.25, 0.5, 0.75, 1, 1.5, max_tokens=4)
axes = swept.plot()

# %%
swept.to_pandas()[["multiplier", "probability", "next_token"]]

# %% [markdown]
# ## A direction
# A control vector is the difference of mean states between two sets of prompts. Lists stand where a line would name a
# file. The vector is a tensor like any other, here one row a layer.

# %%
vector = wb.vector(
    "joy", ["I feel wonderful", "What a lovely day"], ["I feel terrible", "What an awful day"], layers="9-14"
)
wb.tensor("vector:joy").shape

# %% [markdown]
# ## What does not work
# A command that fails raises, and says what to do instead. The session is as it was before.

# %%
from sessions.errors import WorkbenchError

try:
    wb.ablate("L99/N1")
except WorkbenchError as error:
    print(error)

# %% [markdown]
# ## Keep it
# What is saved has a name. The app, command files and other notebooks find it by that; `workbench.attach()` gives the
# same methods for the session of a host that is running, beside its app.

# %%
wb.save("texas")
wb.list()

# %%
wb.close()
