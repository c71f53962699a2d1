"""The captured graph: a module traced once by `torch.export`, and compared with what it was."""
