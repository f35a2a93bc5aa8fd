"""Key-encryption keys: what wraps the data key of each stored secret, and where such keys come from."""

from automate_secrets.keys._encryption import Binding, KeyEncryption
from automate_secrets.keys._local import GENERATE_KEY, keys_of_django
from automate_secrets.keys._ring import KeyRing, read_local

__all__ = ["GENERATE_KEY", "Binding", "KeyEncryption", "KeyRing", "keys_of_django", "read_local"]
