"""How a person looks at data and at samples: pictures and files."""
