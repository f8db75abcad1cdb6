"""A schema with something of everything that SQLite keeps, and rows to start from."""

SCHEMA = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT UNIQUE,
    score INTEGER NOT NULL DEFAULT 0 CHECK (score > -1000),
    ratio REAL,
    note
);
CREATE INDEX users_by_score ON users (score);
CREATE INDEX users_by_lower_name ON users (lower(name)) WHERE note IS NULL;
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label TEXT DEFAULT 'unnamed',
    price REAL DEFAULT 1.5,
    tags TEXT DEFAULT '[]'
);
CREATE TABLE pairs (a INTEGER, b INTEGER, c TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE typed (id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, x ANY) STRICT;
CREATE TABLE boxes (
    id INTEGER PRIMARY KEY,
    w INT,
    h INT,
    area INT GENERATED ALWAYS AS (w * h) STORED,
    label TEXT AS (w || 'x' || h)
);
CREATE TABLE two (k INTEGER PRIMARY KEY, u TEXT UNIQUE, v INT UNIQUE, n INT NOT NULL DEFAULT 0);
CREATE TABLE log (n INTEGER PRIMARY KEY, a, b);
CREATE TABLE loose (a, b, c);
CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE child (
    id INTEGER PRIMARY KEY,
    parent INT REFERENCES parent (id) ON UPDATE CASCADE ON DELETE CASCADE,
    name TEXT
);
CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "from" TEXT, "a b" TEXT);
CREATE TABLE "größe" (id INTEGER PRIMARY KEY, "höhe ☃" REAL);
CREATE TABLE "we""ird.name" ("a""b" INTEGER PRIMARY KEY, "?" TEXT);
CREATE TABLE "returning" ("returning" INTEGER PRIMARY KEY, x TEXT);
CREATE TABLE audit (n INTEGER PRIMARY KEY, what TEXT, old, new);
CREATE VIRTUAL TABLE papers USING fts5(title, body);
CREATE VIEW user_names AS SELECT id, name FROM users;
CREATE TRIGGER user_names_insert INSTEAD OF INSERT ON user_names BEGIN
    INSERT INTO users (id, name) VALUES (new.id, new.name);
END;
CREATE TRIGGER user_names_update INSTEAD OF UPDATE ON user_names BEGIN
    UPDATE users SET name = new.name WHERE id = old.id;
END;
CREATE TRIGGER users_score AFTER UPDATE OF score ON users WHEN new.score <> old.score BEGIN
    INSERT INTO audit (what, old, new) VALUES ('score', old.score, new.score);
END;
CREATE TRIGGER users_gone AFTER DELETE ON users BEGIN
    INSERT INTO audit (what, old, new) VALUES ('gone; really', old.name, CASE WHEN 1 THEN NULL END);
END;
CREATE TRIGGER log_guard BEFORE INSERT ON log WHEN new.a = 'ignored' BEGIN
    SELECT RAISE(IGNORE);
END;
"""

SEED = """
INSERT INTO users (id, name, email, score, ratio, note) VALUES
    (1, 'Ada', 'ada@x', 10, 0.5, NULL), (2, 'Bob', 'bob@x', 20, 2.25, 'tall'),
    (3, 'Cleo', NULL, 30, NULL, x'00ff'), (4, 'Dan', 'dan@x', 40, -1e300, 7);
INSERT INTO items (label, price, tags) VALUES ('pen', 1.25, '["a","b"]'), ('ink', 9.75, '[]');
INSERT INTO pairs VALUES (1, 1, 'one'), (1, 2, 'two'), (2, 1, 'three');
INSERT INTO typed VALUES (1, 1, 1.5, 'a', x'01', 'any'), (2, NULL, NULL, NULL, NULL, 2.5);
INSERT INTO boxes (id, w, h) VALUES (1, 2, 3), (2, 5, 7);
INSERT INTO two VALUES (1, 'a', 100, 0), (2, 'b', 200, 0);
INSERT INTO log (n, a, b) VALUES (1, 5, 'five'), (2, 6, 'six'), (3, 7, 'seven'), (4, -8, 'minus');
INSERT INTO loose VALUES (1, 'one', 1.0), (2, 'two', NULL), (2, 'two', NULL), ('3', x'33', '3');
INSERT INTO parent VALUES (1, 'p'), (2, 'q');
INSERT INTO child VALUES (1, 1, 'c'), (2, 1, 'd'), (3, 2, 'e');
INSERT INTO "order" VALUES (1, 'here', 'x'), (2, 'there', 'y');
INSERT INTO "größe" VALUES (1, 1.75);
INSERT INTO "we""ird.name" VALUES (1, '?');
INSERT INTO "returning" VALUES (1, 'RETURNING');
INSERT INTO papers (rowid, title, body) VALUES (1, 'salt', 'the sea'), (2, 'wind', 'a sail');
"""

CLEAN = """
DELETE FROM child; DELETE FROM parent; DELETE FROM users; DELETE FROM items; DELETE FROM pairs;
DELETE FROM typed; DELETE FROM boxes; DELETE FROM two; DELETE FROM log; DELETE FROM loose;
DELETE FROM "order"; DELETE FROM "größe"; DELETE FROM "we""ird.name"; DELETE FROM "returning";
DELETE FROM papers; DELETE FROM audit; DELETE FROM sqlite_sequence WHERE name = 'items';
"""
