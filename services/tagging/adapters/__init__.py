"""Where tagging meets gRPC and the messages of other services."""
