"""Random schemas: every kind of key, constraint, trigger and foreign key."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

NAMES = ["t0", "t1", "T 2", "order"]
PLAIN = ["a", "b", "c", "u", "n"]
VOLATILE = ["CURRENT_TIMESTAMP", "(random())", "(hex(randomblob(4)))", "(strftime('%f','now'))"]
CONFLICTS = ["REPLACE", "IGNORE", "FAIL", "ABORT", "ROLLBACK"]
ACTIONS = ["CASCADE", "SET NULL", "SET DEFAULT", "NO ACTION", "RESTRICT"]


def quoted(name: str) -> str:
    return '"' + name + '"'


@dataclass
class Made:
    """A table or view, as statements need to know it."""

    name: str
    columns: list[str]
    """That can be written, in quotes."""
    key: list[str]
    rowid: bool = True
    database: str = "main"
    view: bool = False


@dataclass
class Schema:
    """What a run begins with."""

    texts: list[str] = field(default_factory=list)
    tables: list[Made] = field(default_factory=list)


def random_schema(rng: Random, *, wild: bool) -> Schema:
    schema = Schema()
    for name in NAMES[: rng.randint(1, 4)]:
        _table(rng, schema, name, wild=wild)
    schema.texts.append("CREATE TABLE log (what, k, v)")
    schema.tables.append(Made("log", ['"what"', '"k"', '"v"'], []))
    for _ in range(rng.choice([0, 0, 1, 2])):
        schema.texts += _index(rng, rng.choice(schema.tables))
    if rng.random() < 0.4:
        _view(rng, schema, wild=wild)
    for number in range(rng.choice([0, 0, 1, 2, 3])):
        schema.texts.append(trigger(rng, schema, f"tr{number}", wild=wild))
    if rng.random() < 0.3:
        _others(rng, schema, wild=wild)
    return schema


def _table(rng: Random, schema: Schema, name: str, *, wild: bool) -> None:
    key = rng.choice(
        ["ipk", "ipk", "auto", "text", "text not null", "pair", "none", "without", "without pair",
         "desc", "unique not null", "named rowid"]
    )  # fmt: skip
    columns: list[str] = []
    names: list[str] = []
    tail = ""
    pk: list[str] = []
    strict = rng.random() < 0.15
    if key in {"ipk", "auto", "desc"}:
        how = {"ipk": "", "auto": " AUTOINCREMENT", "desc": " DESC"}[key]
        columns.append(f'"id" INTEGER PRIMARY KEY{how}')
        pk = ['"id"']
    elif key in {"text", "text not null", "without"}:
        null = " NOT NULL" if key == "text not null" else ""
        collate = rng.choice(["", "", " COLLATE NOCASE"])
        columns.append(f'"id" TEXT{collate} PRIMARY KEY{_conflict(rng)}{null}')
        pk = ['"id"']
        tail = "WITHOUT ROWID" if key == "without" else ""
    elif key in {"pair", "without pair"}:
        columns += ['"id" INTEGER NOT NULL', f'"k" {"BLOB" if strict else ""}']
        pk = ['"id"', '"k"']
        tail = "WITHOUT ROWID" if key == "without pair" else ""
    elif key == "unique not null":
        columns.append(f'"id" TEXT NOT NULL UNIQUE{_conflict(rng)}')
        pk = ['"id"']
    elif key == "named rowid":
        columns.append('"rowid" TEXT')
        names.append('"rowid"')
    names += pk
    for column in rng.sample(PLAIN, rng.randint(1, 4)):
        columns.append(_column(rng, column, strict=strict, wild=wild))
        names.append(quoted(column))
    plain = [one for one in names if one not in pk]
    if rng.random() < 0.2 and plain:
        how = rng.choice(["VIRTUAL", "STORED"])
        kind = "ANY" if strict else ""
        columns.append(f'"g" {kind} GENERATED ALWAYS AS (coalesce({rng.choice(plain)}, 0)) {how}')
    constraints = [f"PRIMARY KEY ({', '.join(pk)})"] if "pair" in key else []
    if rng.random() < 0.25 and plain:
        constraints.append(f"UNIQUE ({', '.join(rng.sample(plain, 1))}){_conflict(rng)}")
    parents = [one for one in schema.tables if len(one.key) == 1]
    own = Made(name, names, pk)
    if rng.random() < 0.5 and plain and (parents or len(pk) == 1):
        parent = rng.choice([*parents, own] if len(pk) == 1 else parents)
        constraints.append(
            f"FOREIGN KEY ({rng.choice(plain)}) REFERENCES {quoted(parent.name)} ({parent.key[0]})"
            f" ON DELETE {rng.choice(ACTIONS)} ON UPDATE {rng.choice(ACTIONS)}"
            f"{rng.choice(['', ' DEFERRABLE INITIALLY DEFERRED'])}"
        )
    options = [*(["STRICT"] if strict else []), *([tail] if tail else [])]
    inside = ", ".join(columns + constraints)
    schema.texts.append(f"CREATE TABLE {quoted(name)} ({inside}) {', '.join(options)}")
    schema.tables.append(Made(name, names, pk, rowid=not tail and key != "named rowid"))


def _conflict(rng: Random) -> str:
    return f" ON CONFLICT {rng.choice(CONFLICTS)}" if rng.random() < 0.2 else ""


def _column(rng: Random, name: str, *, strict: bool, wild: bool) -> str:
    kinds = (
        ["INTEGER", "TEXT", "REAL", "BLOB", "ANY"]
        if strict
        else ["INTEGER", "TEXT", "REAL", "", "NUMERIC"]
    )
    parts = [quoted(name), rng.choice(kinds)]
    unique = name == "u"
    if rng.random() < 0.15:
        parts.append("COLLATE NOCASE")
    if rng.random() < 0.4 and not (strict and parts[1] not in {"ANY", "TEXT"}):
        volatile = wild and rng.random() < 0.5 and "INTEGER" not in parts
        default = (
            rng.choice(VOLATILE) if volatile else rng.choice(["7", "'d'", "NULL", "(1+1)", "-1.5"])
        )
        if strict:
            default = "'d'"
        parts.append(f"DEFAULT {default}")
        if rng.random() < 0.3:
            parts.append(f"NOT NULL{_conflict(rng)}")
    if unique or rng.random() < 0.1:
        parts.append(f"UNIQUE{_conflict(rng)}")
    if rng.random() < 0.15:
        parts.append(f"CHECK ({quoted(name)} IS NOT 3)")
    return " ".join(parts)


def _index(rng: Random, table: Made) -> list[str]:
    column = rng.choice(table.columns)
    what = rng.choice(
        [column, f"{column} COLLATE NOCASE", f"lower({column})", f"coalesce({column}, 0) DESC",
         f"{column}, {rng.choice(table.columns)}"]
    )  # fmt: skip
    where = rng.choice(["", "", f" WHERE {rng.choice(table.columns)} IS NOT NULL"])
    unique = "UNIQUE " if rng.random() < 0.6 else ""
    name = f"ix{rng.randrange(10**6)}"
    return [f"CREATE {unique}INDEX {name} ON {quoted(table.name)} ({what}){where}"]


def _view(rng: Random, schema: Schema, *, wild: bool) -> None:
    base = rng.choice(schema.tables)
    names = base.columns
    schema.texts.append(f"CREATE VIEW v AS SELECT {', '.join(names)} FROM {quoted(base.name)}")
    values = ", ".join(f"NEW.{name}" for name in names)
    conflict = rng.choice(["", "OR REPLACE", "OR IGNORE"])
    into = f"INTO {quoted(base.name)} ({', '.join(names)}) VALUES ({values})"
    schema.texts.append(
        f"CREATE TRIGGER v_i INSTEAD OF INSERT ON v BEGIN INSERT {conflict} {into};"
        f" INSERT INTO log VALUES ('view', {'random()' if wild else 2}, 1); END"
    )
    schema.texts.append(
        f"CREATE TRIGGER v_d INSTEAD OF DELETE ON v BEGIN DELETE FROM {quoted(base.name)}"
        f" WHERE {names[0]} IS OLD.{names[0]}; END"
    )
    schema.tables.append(Made("v", names, [], rowid=False, view=True))


def trigger(rng: Random, schema: Schema, name: str, *, wild: bool, temp: bool = False) -> str:
    """A trigger on one of the tables."""
    tables = [one for one in schema.tables if not one.view and one.database == "main"]
    table, other = rng.choice(tables), rng.choice(tables)
    event = rng.choice(["INSERT", "UPDATE", "DELETE", f"UPDATE OF {rng.choice(table.columns)}"])
    row = "OLD" if event == "DELETE" else "NEW"
    value = f"{row}.{rng.choice(table.columns)}"
    column, second = rng.choice(other.columns), rng.choice(other.columns)
    computed = rng.choice(["1", "random()" if wild else "2", "changes()"])
    bodies = [
        f"INSERT INTO log VALUES ('{name}', {value}, {computed});",
        f"UPDATE {quoted(other.name)} SET {column} = {value} WHERE {second} IS {value};",
        f"DELETE FROM {quoted(other.name)} WHERE {column} IS {value};",
        f"INSERT OR REPLACE INTO {quoted(other.name)} ({column}) VALUES ({value});",
        f"INSERT OR IGNORE INTO {quoted(other.name)} ({column}) VALUES ({value});",
    ]
    if not temp:
        bodies.append("SELECT RAISE(IGNORE);")
    bodies.append("SELECT RAISE(ABORT, 'no');")
    if wild:
        bodies += ["SELECT RAISE(FAIL, 'no');", "SELECT RAISE(ROLLBACK, 'no');"]
    body = rng.choice(bodies)
    when = f"WHEN {value} {rng.choice(['> 2', 'IS NULL', '= 1', 'IS NOT NULL'])}"
    if "RAISE" not in body and rng.random() < 0.6:
        when = ""
    moment = rng.choice(["BEFORE", "AFTER", "AFTER"])
    on = f"main.{quoted(table.name)}" if temp else quoted(table.name)
    kind = "TEMP TRIGGER" if temp else "TRIGGER"
    return f"CREATE {kind} {name} {moment} {event} ON {on} {when} BEGIN {body} END"


def _others(rng: Random, schema: Schema, *, wild: bool) -> None:
    """Temporary and attached tables, some in front of one of the main database."""
    schema.texts.append("ATTACH ':memory:' AS side")
    hidden = rng.choice([one for one in schema.tables if not one.view])
    schema.texts.append('CREATE TEMP TABLE only ("a" INTEGER PRIMARY KEY, "b" UNIQUE)')
    schema.tables.append(Made("only", ['"a"', '"b"'], ['"a"'], database="temp"))
    schema.texts.append('CREATE TABLE side.aside ("a" PRIMARY KEY, "b")')
    schema.tables.append(Made("aside", ['"a"', '"b"'], ['"a"'], database="side"))
    if rng.random() < 0.5:
        columns = ", ".join(hidden.columns)
        schema.texts.append(f"CREATE TEMP TABLE {quoted(hidden.name)} ({columns})")
    if rng.random() < 0.5:
        schema.texts.append(trigger(rng, schema, "tt", wild=wild, temp=True))
