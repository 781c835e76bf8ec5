"""LoRA adapters as PEFT folders: read, kept by name, and combined."""
