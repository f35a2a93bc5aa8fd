"""automate-llm alone: tokens are counted without a tokenizer, and what a call lacks is named with what to install."""

from automate_core.errors import AutomateError
from automate_llm import chat, count_tokens

assert count_tokens("Hello, world!") > 0
told = ""
try:
    chat([{"role": "user", "content": "Hello!"}])
except AutomateError as error:
    told = str(error)
assert "pip install" in told, told
