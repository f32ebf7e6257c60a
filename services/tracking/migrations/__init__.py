"""How the tables of tracking that are truth themselves came to be, revision by revision."""
