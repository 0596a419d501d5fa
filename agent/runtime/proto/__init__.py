"""Messages of the runtimes, generated from the .proto files beside them."""
