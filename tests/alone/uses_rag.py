"""automate-rag alone: documents are indexed and found in the embedded store, by both import paths."""

import automate_rag
from rag import index_documents, query

assert query is automate_rag.query
assert index_documents("support", [{"id": "doc-1", "content": "To reset your password, go to Settings."}]) == 1
(found,) = query("support", "reset password")
assert found["id"] == "doc-1"
