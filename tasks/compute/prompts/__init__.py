"""Networks that are told what to look for: class prompts and clicks, as VISTA-3D takes them."""
