"""The command `holdfast`: thin; each verb calls one function of the library and shows its answer.

`main` is the entry; one file holds one verb or a few that belong together. Nothing here is loaded
with torch: verbs import what they need when they run.
"""
