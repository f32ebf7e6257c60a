"""How the tables of campaigns that are truth themselves came to be, revision by revision."""
