"""Where tracking meets gRPC, PostgreSQL and the identity service."""
