"""The road: from the camera's frames through an accelerator to the published masks."""
