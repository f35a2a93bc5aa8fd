"""Key-encryption keys: what wraps the data key of each stored secret, and where such keys come from."""

from automate_secrets._files import read_file
from automate_secrets.keys._encryption import Binding, KeyEncryption
from automate_secrets.keys._local import GENERATE_KEY, read_key
from automate_secrets.keys._ring import KeyRing

__all__ = ["GENERATE_KEY", "Binding", "KeyEncryption", "KeyRing", "read_file", "read_key"]
