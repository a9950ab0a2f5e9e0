"""The pool of vLLM engines: which are there, what each serves, which one to ask."""
