"""What is known of a run, built once as plain data; terminal, page, model card and JSON render it."""
