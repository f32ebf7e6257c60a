"""The rules of membership: who is a member, what they earn, what their points are worth when."""
