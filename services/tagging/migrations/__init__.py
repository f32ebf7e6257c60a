"""How the tables of tagging that are truth themselves came to be, revision by revision."""
