"""Where nodes come from: their agents' own word, or Kubernetes."""
