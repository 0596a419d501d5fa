"""A fleet on one machine: registry, images, containerds, programs. For `make run` and tests."""
