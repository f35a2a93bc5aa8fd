"""What hangs on the table of events and has to move to the partitioned one: indexes, rights, triggers, views."""

from __future__ import annotations

from typing import Any

from automate_core.errors import ConfigurationError

from automate.partitions.catalog import SHADOW, TABLE, Catalog

__all__ = ["Attachments", "refuse_unfit"]

_INDEXES = """
    SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisprimary
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = %s::regclass AND i.indisvalid ORDER BY c.relname"""
_VIEWS = """
    SELECT DISTINCT v.oid::regclass::text, COALESCE(array_to_string(v.reloptions, ', '), ''), pg_get_viewdef(v.oid)
    FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = %s::regclass AND v.oid <> d.refobjid"""
_TRIGGERS = """
    SELECT quote_ident(tgname), pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
    WHERE tgrelid = %s::regclass AND NOT tgisinternal"""
_PUBLICATIONS = """
    SELECT quote_ident(p.pubname) FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    WHERE r.prrelid = %s::regclass"""
_GRANTS = """
    SELECT a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.is_grantable
    FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner"""
_UNFIT = {
    "foreign keys refer to it": """
        SELECT conrelid::regclass::text || '.' || conname FROM pg_constraint
        WHERE confrelid = %s::regclass AND contype = 'f'""",
    "materialized views read it": """
        SELECT DISTINCT v.oid::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        JOIN pg_class v ON v.oid = r.ev_class
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %s::regclass AND v.relkind = 'm'""",
    "unique indexes lack its id": """
        SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
        WHERE i.indrelid = %s::regclass AND a.attname = 'id' AND i.indisunique AND NOT a.attnum = ANY(i.indkey)""",
    "it has row-level security": """
        SELECT polname::text FROM pg_policy WHERE polrelid = %s::regclass""",
    "tables inherit from it, or it from one": """
        SELECT inhrelid::regclass::text FROM pg_inherits WHERE %s::regclass IN (inhparent, inhrelid)""",
    "it is published with a filter or a list of columns": """
        SELECT p.pubname::text FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE r.prrelid = %s::regclass AND (to_jsonb(r) -> 'prqual' <> 'null' OR to_jsonb(r) -> 'prattrs' <> 'null')""",
}


def refuse_unfit(catalog: Catalog) -> None:
    """Refuse a table of events on which something hangs that a partitioned table cannot have.

    Args:
        catalog: The catalog.

    Raises:
        ConfigurationError: If there is such a thing; the message names all of them.
    """
    found = {reason: [row[0] for row in catalog.query(query, [TABLE])] for reason, query in _UNFIT.items()}
    lines = [f"{reason} ({', '.join(sorted(names))})" for reason, names in found.items() if names]
    if lines:
        raise ConfigurationError(f"{TABLE} cannot be partitioned: {'; '.join(lines)}. Remove these, then convert.")


class Attachments:
    """Carries over what is not a row.

    Args:
        catalog: The catalog.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._views: list[Any] = []
        self._triggers: list[Any] = []
        self._publications: list[str] = []

    def copy_to_shadow(self) -> None:
        """Give the table that waits the indexes, the owner and the rights of the old one."""
        catalog, shadow = self._catalog, self._catalog.name(SHADOW)
        for name, definition, is_primary in catalog.query(_INDEXES, [TABLE]):
            ours = catalog.connection.ops.quote_name(_partner(name))
            _, _, columns = definition.partition(" USING ")
            if is_primary:
                catalog.execute(f"ALTER TABLE {shadow} ADD CONSTRAINT {ours} PRIMARY KEY (id)")
            else:
                unique = "UNIQUE " if definition.startswith("CREATE UNIQUE") else ""
                catalog.execute(f"CREATE {unique}INDEX {ours} ON {shadow} USING {columns}")
        owner = catalog.query("SELECT relowner::regrole::text FROM pg_class WHERE oid = %s::regclass", [TABLE])[0][0]
        catalog.execute(f"ALTER TABLE {shadow} OWNER TO {owner}")
        for privilege, role, grantable in catalog.query(_GRANTS, [TABLE]):
            catalog.execute(f"GRANT {privilege} ON {shadow} TO {role}{' WITH GRANT OPTION' if grantable else ''}")

    def detach(self) -> None:
        """Take from the old table what may be there once: the names of its indexes, triggers, publications."""
        catalog = self._catalog
        self._views = catalog.query(_VIEWS, [TABLE])
        self._triggers = catalog.query(_TRIGGERS, [TABLE])
        self._publications = [row[0] for row in catalog.query(_PUBLICATIONS, [TABLE])]
        catalog.execute(*(f"DROP TRIGGER {name} ON {catalog.name()}" for name, _, _ in self._triggers))
        catalog.execute(*(f"ALTER PUBLICATION {name} DROP TABLE {catalog.name()}" for name in self._publications))
        for name, _, _ in catalog.query(_INDEXES, [TABLE]):
            self._rename_index(name, _partner(name, "legacy"))
            self._rename_index(_partner(name), name)

    def attach(self) -> None:
        """Put it on the partitioned table, which has the name of the old one by now."""
        catalog, table = self._catalog, self._catalog.name()
        for view, options, definition in self._views:
            # The text names the old table by the name that is now the new one's: it was read before.
            catalog.execute(f"CREATE OR REPLACE VIEW {view} {f'WITH ({options})' if options else ''} AS {definition}")
        for name, definition, enabled in self._triggers:
            catalog.execute(definition)
            state = {"D": "DISABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}.get(enabled)
            if state:
                catalog.execute(f"ALTER TABLE {table} {state} TRIGGER {name}")
        for name in self._publications:
            catalog.execute(
                f"ALTER PUBLICATION {name} ADD TABLE {table}",
                # Changes keep the name of the table, whichever partition they are in.
                f"ALTER PUBLICATION {name} SET (publish_via_partition_root = true)",
            )

    def _rename_index(self, old: str, new: str) -> None:
        quoted = self._catalog.connection.ops.quote_name(new)
        self._catalog.execute(f"ALTER INDEX {self._catalog.name(old)} RENAME TO {quoted}")


def _partner(index: str, of: str = "shadow") -> str:
    """Return the name of the index that takes the place of one, or of the one whose place it took."""
    suffix = f"_{of}"
    return f"{index[: 63 - len(suffix)]}{suffix}"
