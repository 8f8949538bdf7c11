"""The local engines beside bare libraries, on one shape of model."""
