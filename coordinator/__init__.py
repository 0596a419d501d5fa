"""The coordinator: owns tasks, and the API, page, webhooks and events about them."""
